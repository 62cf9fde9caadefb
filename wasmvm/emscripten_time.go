package wasmvm

import (
	"bytes"
	"encoding/binary"
	"math"
	"strconv"
	"strings"
	"time"
)

// The calendar of a module: its clock is a counter, its zone is UTC, and both are the same everywhere.

const (
	maxDateMilli = 8_640_000_000_000_000 // the last instant a JavaScript Date can hold
	maxFormat    = 4096
	maxZone      = 64
	offIsDST     = 32
	offGMTOff64  = 40
	offGMTOff32  = 36
	offZone64    = 48
	offZone32    = 40
	tmSize       = 44 // of a 32-bit struct tm; a 64-bit one is longer
	tmSize64     = 56
)

func timeFuncs() []namedFunc {
	return []namedFunc{
		{"env.emscripten_date_now", ">d", (*emscripten).dateNow},
		{"env.emscripten_get_now", ">d", (*emscripten).dateNow},
		{"env._emscripten_get_now_is_monotonic", ">i", answer(1)},
		{"env._gmtime_js", "jj>", (*emscripten).gmtime},
		{"env._gmtime_js", "iii>", (*emscripten).gmtime},
		{"env._localtime_js", "jj>", (*emscripten).localtime},
		{"env._localtime_js", "iii>", (*emscripten).localtime},
		{"env._mktime_js", "p>p", (*emscripten).mktime},
		{"env._tzset_js", "pppp>", (*emscripten).tzset},
		{"env.strftime", "pppp>p", (*emscripten).strftime},
		{"env.strftime_l", "ppppp>p", (*emscripten).strftime},
	}
}

// dateNow is the module's only clock: it starts anew with every message, so that a hot instance and a
// restored one read the same.
func (m *emscripten) dateNow([]uint64) (uint64, error) {
	v := m.date
	m.date++
	return math.Float64bits(float64(v)), nil
}

// instant splits the arguments of gmtime and localtime: seconds, in halves on 32 bits, and a struct tm.
func (m *emscripten) instant(a []uint64) (t int64, tm []byte) {
	if m.wide {
		return int64(a[0]), m.span(a[1], tmSize64)
	}
	return int64(a[0] | a[1]<<32), m.span(a[2], tmSize)
}

func (m *emscripten) gmtime(a []uint64) (uint64, error) {
	t, tm := m.instant(a)
	if tm == nil {
		return 0, faultPointer
	}
	putDate(tm, t)
	return 0, nil
}

func (m *emscripten) localtime(a []uint64) (uint64, error) {
	t, tm := m.instant(a)
	if tm == nil {
		return 0, faultPointer
	}
	valid := putDate(tm, t)
	binary.LittleEndian.PutUint32(tm[offIsDST:], 0)
	if !m.wide {
		binary.LittleEndian.PutUint32(tm[offGMTOff32:], 0)
		return 0, nil
	}
	if !valid {
		return 0, faultAbort // the reference throws over a BigInt of NaN
	}
	binary.LittleEndian.PutUint64(tm[offGMTOff64:], 0)
	return 0, nil
}

// putDate fills in the eight calendar fields; an instant beyond JavaScript's calendar gives zeros.
func putDate(tm []byte, t int64) bool {
	if t > maxDateMilli/1000 || t < -maxDateMilli/1000 {
		clear(tm[:32])
		return false
	}
	d := time.Unix(t, 0).UTC()
	for i, v := range []int{d.Second(), d.Minute(), d.Hour(), d.Day(), int(d.Month()) - 1, d.Year() - 1900, int(d.Weekday()), d.YearDay() - 1} {
		binary.LittleEndian.PutUint32(tm[4*i:], uint32(int32(v)))
	}
	return true
}

// tmFields are the nine numbers of a struct tm.
func tmFields(tm []byte) (f [9]int64) {
	for i := range f {
		f[i] = int64(int32(binary.LittleEndian.Uint32(tm[4*i:])))
	}
	return f
}

// mktime normalises a struct tm and returns its instant, -1 beyond JavaScript's calendar.
func (m *emscripten) mktime(a []uint64) (uint64, error) {
	tm := m.span(a[0], tmSize)
	if tm == nil {
		return 0, faultPointer
	}
	f := tmFields(tm)
	if f[8] < 0 {
		binary.LittleEndian.PutUint32(tm[offIsDST:], 0)
	}
	year := f[5] + 1900
	if year >= 0 && year <= 99 {
		year += 1900 // as the constructor of a JavaScript Date reads two digits
	}
	t := time.Date(int(year), time.Month(f[4]+1), int(f[3]), int(f[2]), int(f[1]), int(f[0]), 0, time.UTC).Unix()
	if !putDate(tm, t) {
		t = -1
	}
	if m.wide {
		return uint64(t), nil
	}
	_, err := m.run("_emscripten_tempret_set", []any{int32(t >> 32)})
	return uint64(uint32(t)), err
}

func (m *emscripten) tzset(a []uint64) (uint64, error) {
	if err := m.putWord(a[0], 0); err != nil {
		return 0, err
	}
	if err := m.put32(a[1], 0); err != nil {
		return 0, err
	}
	for _, p := range a[2:4] {
		name := m.span(p, 4)
		if name == nil {
			return 0, faultPointer
		}
		copy(name, "UTC\x00")
	}
	return 0, nil
}

// cstring copies a short C string; an end that is not found within max bytes is an error.
func (m *emscripten) cstring(p uint64, max int) (string, error) {
	mem := m.memory()
	if p >= uint64(len(mem)) {
		return "", faultPointer
	}
	mem = mem[p:min(uint64(len(mem)), p+uint64(max)+1)]
	n := bytes.IndexByte(mem, 0)
	if n < 0 {
		return "", faultPointer
	}
	return strings.ToValidUTF8(string(mem[:n]), "\ufffd"), nil
}

// strftime formats as the reference does, replacement by replacement, oddities included.
func (m *emscripten) strftime(a []uint64) (uint64, error) {
	size, zoneAt := uint64(tmSize), offZone32
	if m.wide {
		size, zoneAt = tmSize64, offZone64
	}
	tm := m.span(a[3], size)
	if tm == nil {
		return 0, faultPointer
	}
	d := calendar{f: tmFields(tm)}
	zone := uint64(0)
	if m.wide {
		d.offset = int64(binary.LittleEndian.Uint64(tm[offGMTOff64:]))
		zone = binary.LittleEndian.Uint64(tm[zoneAt:])
	} else {
		d.offset = int64(int32(binary.LittleEndian.Uint32(tm[offGMTOff32:])))
		zone = uint64(binary.LittleEndian.Uint32(tm[zoneAt:]))
	}
	pattern, err := m.cstring(a[2], maxFormat)
	if err != nil {
		return 0, err
	}
	if zone != 0 && strings.Contains(pattern, "Z") {
		if d.zone, err = m.cstring(zone, maxZone); err != nil {
			return 0, err
		}
	}
	out, err := d.format(pattern)
	if err != nil {
		return 0, err
	}
	if err := m.charge(uint64(len(pattern) * 64)); err != nil {
		return 0, err
	}
	if uint64(len(out))+1 > a[1] {
		return 0, nil
	}
	dst := m.span(a[0], uint64(len(out))+1)
	if dst == nil {
		return 0, faultPointer
	}
	copy(dst, out)
	dst[len(out)] = 0
	return uint64(len(out)), nil
}

// calendar is a struct tm: seconds, minutes, hours, day, month, year, weekday, day of the year, summer time.
type calendar struct {
	f      [9]int64
	offset int64
	zone   string
}

// expansions are applied first, in this order.
func expansions() [28]string {
	return [...]string{
		"%c|%a %b %d %H:%M:%S %Y", "%D|%m/%d/%y", "%F|%Y-%m-%d", "%h|%b", "%r|%I:%M:%S %p", "%R|%H:%M", "%T|%H:%M:%S",
		"%x|%m/%d/%y", "%X|%H:%M:%S", "%Ec|%c", "%EC|%C", "%Ex|%m/%d/%y", "%EX|%H:%M:%S", "%Ey|%y", "%EY|%Y", "%Od|%d",
		"%Oe|%e", "%OH|%H", "%OI|%I", "%Om|%m", "%OM|%M", "%OS|%S", "%Ou|%u", "%OU|%U", "%OV|%V", "%Ow|%w", "%OW|%W", "%Oy|%y",
	}
}

func (d *calendar) format(s string) (string, error) {
	for _, rule := range expansions() {
		from, to, _ := strings.Cut(rule, "|")
		s = strings.ReplaceAll(s, from, to)
	}
	s = strings.ReplaceAll(s, "%%", "\x00\x00")
	for _, c := range "aAbBCdegGHIjmMnpStuUVwWyYzZ" {
		verb := "%" + string(c)
		if !strings.Contains(s, verb) {
			continue
		}
		text, ok := d.verb(c)
		if !ok {
			return "", faultAbort // the reference throws
		}
		s = strings.ReplaceAll(s, verb, text)
	}
	return strings.ReplaceAll(s, "\x00\x00", "%"), nil
}

func (d *calendar) verb(c rune) (text string, ok bool) {
	year, month, mday, wday, yday := d.f[5]+1900, d.f[4], d.f[3], d.f[6], d.f[7]
	hour := d.f[2]
	switch c {
	case 'a', 'A':
		return cut(time.Weekday(wday).String(), 3, c == 'a'), wday >= 0 && wday < 7
	case 'b', 'B':
		return cut(time.Month(month+1).String(), 3, c == 'b'), month >= 0 && month < 12
	case 'C':
		return pad(year/100, 2, '0'), true
	case 'd':
		return pad(mday, 2, '0'), true
	case 'e':
		return pad(mday, 2, ' '), true
	case 'g', 'G':
		week := d.weekYear()
		if c == 'g' {
			return week[min(2, len(week)):], true
		}
		return week, true
	case 'H':
		return pad(hour, 2, '0'), true
	case 'I':
		if hour == 0 {
			hour = 12
		} else if hour > 12 {
			hour -= 12
		}
		return pad(hour, 2, '0'), true
	case 'j':
		return d.dayOfYear(), true
	case 'm':
		return pad(month+1, 2, '0'), true
	case 'M':
		return pad(d.f[1], 2, '0'), true
	case 'n':
		return "\n", true
	case 'p':
		if hour >= 0 && hour < 12 {
			return "AM", true
		}
		return "PM", true
	case 'S':
		return pad(d.f[0], 2, '0'), true
	case 't':
		return "\t", true
	case 'u':
		if wday == 0 {
			wday = 7
		}
		return strconv.FormatInt(wday, 10), true
	case 'U':
		return pad(floorDiv(yday+7-wday, 7), 2, '0'), true
	case 'V':
		return d.week(), true
	case 'w':
		return strconv.FormatInt(wday, 10), true
	case 'W':
		return pad(floorDiv(yday+7-(wday+6)%7, 7), 2, '0'), true
	case 'y':
		text = strconv.FormatInt(year, 10)
		return text[min(2, len(text)):], true
	case 'Y':
		return strconv.FormatInt(year, 10), true
	case 'z':
		return "+0000", d.offset == 0
	}
	return d.zone, true // Z
}

func cut(s string, n int, short bool) string {
	if short {
		return s[:min(n, len(s))]
	}
	return s
}

func pad(v int64, width int, with byte) string {
	s := strconv.FormatInt(v, 10)
	for len(s) < width {
		s = string(with) + s
	}
	return s
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func leap(year int64) bool { return year%4 == 0 && (year%100 != 0 || year%400 == 0) }

// dayOfYear sums month lengths, a number only for real months.
func (d *calendar) dayOfYear() string {
	if d.f[4] > 12 {
		return "NaN"
	}
	days := d.f[3]
	for month := range max(d.f[4], 0) {
		days += []int64{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}[month]
		if month == 1 && leap(d.f[5]+1900) {
			days++
		}
	}
	return pad(days, 3, '0')
}

// weekYear is the year that the ISO week of the day belongs to.
func (d *calendar) weekYear() string {
	year := d.f[5] + 1900
	if year >= 0 && year <= 99 {
		year += 1900
	}
	day := time.Date(int(year), 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, int(max(d.f[7], 0)))
	if s := day.Unix(); s > maxDateMilli/1000 || s < -maxDateMilli/1000 {
		return "NaN"
	}
	week, _ := day.ISOWeek()
	return strconv.Itoa(week)
}

// week is the ISO week number, with the reference's notion of leap years.
func (d *calendar) week() string {
	wday, yday, year := d.f[6], d.f[7], d.f[5]
	v := floorDiv(yday+7-(wday+6)%7, 7)
	if (wday+371-yday-2)%7 <= 2 {
		v++
	}
	if v == 0 {
		v = 52
		if dec31 := (wday + 7 - yday - 1) % 7; dec31 == 4 || dec31 == 5 && leap(year%400-1) {
			v++
		}
	} else if v == 53 {
		if jan1 := (wday + 371 - yday) % 7; jan1 != 4 && (jan1 != 3 || !leap(year)) {
			v = 1
		}
	}
	return pad(v, 2, '0')
}
