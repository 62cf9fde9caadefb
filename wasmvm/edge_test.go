package wasmvm

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"
)

// TestEdges runs messages that reach the rarer host functions, each on the state after the spawn. The digests
// are of the memory that the reference loader left, running in UTC from a fresh instance.
func TestEdges(t *testing.T) {
	p := testProgram(t, aosWide, aosSum)
	j := testJournal(t, p, testScan(t))
	if out, _, err := j.handle([]byte(testSpawn()), testEnv(), MaxFuel); err != nil || failed(out) {
		t.Fatalf("spawn: %v %s", err, out)
	}
	j.mark()
	for _, c := range []struct {
		n            int
		digest, code string
	}{
		{
			1, "7f3c02ff1e3f95da",
			"return os.date('!%c %x %X %p %y %Y %j %U %W %V %G %g %u %w %a %A %b %B %d %H %I %M %S %Z %z %% %n%t %C %D %e %F %h %r %R %T', 1234567890)",
		},
		{
			2, "4ee60d4b5b225b40",
			"return os.date('%c %x %X %p %y %Y %j %U %W %V %G %g %u %w %a %A %b %B %d %H %I %M %S %Z %z %% %n%t %C %D %e %F %h %r %R %T " +
				"%Ec %EC %Ex %EX %Ey %EY %Od %Oe %OH %OI %Om %OM %OS %Ou %OU %OV %Ow %OW %Oy', 951782399)",
		},
		{3, "ec65d43aaa7a18a6", "local s='' for i=0,40 do s=s..os.date('!%V %G %U %W %j|', i*86400*91+17) end return s"},
		{4, "63aa4438e7df8e0f", "local t=os.date('*t',1e9) return t.year..t.month..t.day..t.hour..t.min..t.sec..t.wday..t.yday..tostring(t.isdst)"},
		{8, "f48725f7b069364b", "return os.date('%c', -1e12)"},
		{9, "32b4b4099c786cd6", "return os.date('!%c', 1e15)"},
		{11, "8521e4bf5db60762", "return os.date('!%c',-62167219200-86400*400)"},
		{12, "18a6bba33983a722", "io.write('x') io.stdout:write('yy') io.stdout:flush() return tostring(io.open('/data/x'))..tostring(os.getenv('HOME'))..tostring(os.execute())"},
		{13, "e448fe1307fe2058", "return tostring(os.execute('ls'))"},
		{17, "50d80cb13b816c79", "io.stdout:setvbuf('no') io.stdout:write('abc') io.stderr:write('x') return 1"},
		{18, "79fd96882ce76b71", "local ok,e=pcall(io.read) return tostring(ok)..tostring(e)"},
		{23, "e099c4025644806e", "local s=string.rep('x',1000000) local t={} for i=1,2000 do t[i]=s..i end return #t"},
		{27, "e7d7c88158355dd3", "local a,b=io.open('/x','w') return tostring(a)..tostring(b)"},
		{28, "f077087d351ed5ba", "local d=0 local function f(n) d=n local ok,e=pcall(f,n+1) if not ok then error('x') end return 1 end local ok,e=pcall(f,1) return d"},
	} {
		out, _, err := j.handle([]byte(testEval(c.n, c.code)), testEnv(), MaxFuel)
		if err != nil {
			t.Fatalf("%s: %v", c.code, err)
		}
		if got := hexSum(j.memory())[:16]; got != c.digest {
			t.Errorf("%s: memory digest %s, want %s: %.200s", c.code, got, c.digest, out)
		}
		if err := j.rollback(); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		fuel       uint64
		want, code string
	}{
		{MaxFuel, "Program terminated with exit(3)", "os.exit(3)"},
		{50_000_000, "out of gas!", "while true do end"},
	} {
		if _, _, err := j.handle([]byte(testEval(1, c.code)), testEnv(), c.fuel); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", c.code, err, c.want)
		}
		if err := j.rollback(); err != nil {
			t.Fatal(err)
		}
	}
	for msg, want := range map[string]string{"": "", "{not json": "", `{"Id":"a"}`: `"ok":false`} {
		out, _, err := j.handle([]byte(msg), testEnv(), MaxFuel)
		if err != nil || want == "" && len(out) > 0 || !strings.Contains(string(out), want) {
			t.Errorf("message %q: %q %v", msg, out, err)
		}
		if err := j.rollback(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMktime normalises dates through the import, on both pointer sizes.
func TestMktime(t *testing.T) {
	p := mustWat(t, testEngine(t), map[string]string{
		"imports": `(import "env" "_mktime_js" (func $f (param i64) (result i64)))`,
		"handle":  `(i64.store (i64.const 3000) (call $f (local.get 0))) i64.const 1000`,
	})
	j := testJournal(t, p, testScan(t))
	for _, c := range []struct {
		sec, min, hour, day, month, year, isdst int32
		want                                    time.Time
	}{
		{0, 0, 12, 35, 13, 120, -1, time.Date(2021, 3, 7, 12, 0, 0, 0, time.UTC)},
		{100000, -77, 0, -3, 0, 50, 0, time.Date(1949, 12, 29, 2, 29, 40, 0, time.UTC)},
		{0, 0, 0, 1, 0, -1830, 1, time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)},
		{0, 0, 0, 1, 0, 1 << 30, 0, time.Unix(-1, 0)},
		{-1 << 31, -1 << 31, -1 << 31, -1 << 31, -1 << 31, -1 << 31, 0, time.Unix(-1, 0)},
		{1<<31 - 1, 1<<31 - 1, 1<<31 - 1, 1<<31 - 1, 1<<31 - 1, 1<<31 - 1, 0, time.Unix(-1, 0)},
	} {
		tm := make([]byte, tmSize64)
		for i, v := range []int32{c.sec, c.min, c.hour, c.day, c.month, c.year, 0, 0, c.isdst} {
			binary.LittleEndian.PutUint32(tm[4*i:], uint32(v))
		}
		if _, _, err := j.handle(tm, nil, MaxFuel); err != nil {
			t.Fatal(err)
		}
		if got := int64(binary.LittleEndian.Uint64(j.memory()[3000:])); got != c.want.Unix() {
			t.Errorf("%+v: %v, want %v", c, time.Unix(got, 0).UTC(), c.want)
		}
	}
}

// TestFormat covers struct tm values that no calendar produces.
func TestFormat(t *testing.T) {
	for _, c := range []struct {
		d       calendar
		pattern string
		want    string
		fails   bool
	}{
		{calendar{f: [9]int64{5, -3, 25, -4, 3, -1900, 2, 99}}, "%S|%M|%I|%H|%d|%e|%m|%y|%Y|%p", "05|-3|13|25|-4|-4|04||0|PM", false},
		{calendar{f: [9]int64{4: 12}}, "%j", "365", false},
		{calendar{f: [9]int64{4: 13}}, "%j", "NaN", false},
		{calendar{f: [9]int64{4: -1 << 31}}, "%j", "000", false},
		{calendar{f: [9]int64{4: 12}}, "%b", "", true},
		{calendar{f: [9]int64{6: -1}}, "%A", "", true},
		{calendar{offset: 1}, "%z", "", true},
		{calendar{f: [9]int64{5: 1<<31 - 1, 7: 1<<31 - 1}}, "%G", "NaN", false},
		{calendar{f: [9]int64{-1 << 31, -1 << 31, -1 << 31, -1 << 31, 0, -1 << 31, 0, -1 << 31}}, "%V%U%W%C%g%u%w", "", false},
		{calendar{zone: "a%b"}, "%%Z %Z %", "%Z a%b %", false},
	} {
		got, err := c.d.format(c.pattern)
		if (err != nil) != c.fails || c.want != "" && got != c.want {
			t.Errorf("format %q: %q %v, want %q", c.pattern, got, err, c.want)
		}
	}
}
