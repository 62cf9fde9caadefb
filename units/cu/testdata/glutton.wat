;; Takes all the memory that its process may have with every message after the spawn, writes to every page of it, and ends
;; with END: "i64.const 1000" in kept.wasm, "unreachable" in rolledback.wasm. quick.wasm takes every message for the spawn:
;; (i32.const 1) instead of (i64.eqz ...).
(module
  (memory (export "memory") i64 2 100000)
  (data (i64.const 1000) "{\"ok\":true,\"response\":{\"Output\":\"full\"}}\00")
  (global $sp (mut i64) (i64.const 65536))
  (func (export "malloc") (param i64) (result i64) i64.const 70000)
  (func (export "free") (param i64))
  (func (export "__wasm_call_ctors"))
  (func (export "emscripten_stack_init"))
  (func (export "emscripten_stack_get_end") (result i64) i64.const 2048)
  (func (export "emscripten_stack_get_current") (result i64) global.get $sp)
  (func (export "_emscripten_stack_alloc") (param i64) (result i64)
    (global.set $sp (i64.and (i64.sub (global.get $sp) (local.get 0)) (i64.const -16))) global.get $sp)
  (func (export "_emscripten_stack_restore") (param i64) (global.set $sp (local.get 0)))
  (func (export "handle") (param i64 i64) (result i64) (local $at i64)
    (if (i64.eqz (i64.load (i64.const 900))) ;; the spawn
      (then (i64.store (i64.const 900) (i64.const 1)) (return (i64.const 1000))))
    (loop $more (br_if $more (i64.ne (memory.grow (i64.const 1)) (i64.const -1))))
    (local.set $at (i64.const 131072))
    (loop $next
      (i64.store (local.get $at) (i64.xor (local.get $at) (i64.mul (local.get $at) (i64.const 2862933555777941757))))
      (local.set $at (i64.add (local.get $at) (i64.const 4096)))
      (br_if $next (i64.lt_u (local.get $at) (i64.mul (memory.size) (i64.const 65536)))))
    END))
