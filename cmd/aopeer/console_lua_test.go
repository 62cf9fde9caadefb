package main

import "testing"

func TestUnfinished(t *testing.T) {
	for code, want := range map[string]bool{
		"":                              false,
		"1 + 1":                         false,
		"1 +":                           true,
		"x = 1":                         false,
		"x =":                           true,
		"Inbox":                         false,
		"#Inbox":                        false,
		"Inbox[1].":                     true,
		"Inbox[1":                       true,
		"return":                        false,
		"return 1 +":                    true,
		"function f()":                  true,
		"function f()\n  return 1":      true,
		"function f()\n  return 1\nend": false,
		"f(":                            true,
		"f(1,\n2)":                      false,
		"Send({ Target = ao.id,":        true,
		"Send({ Target = ao.id })":      false,
		"if x then":                     true,
		"if x then y() else":            true,
		"for i = 1, 3 do":               true,
		"repeat x()":                    true,
		"{ 1, 2":                        true,
		"{ 1, 2 }":                      false,
		"x = [[long":                    true,
		"x = [[long\nstring]]":          false,
		"x = [==[long ]]":               true,
		"--[[ a comment":                true,
		"-- a comment":                  false,
		"local x <const> = 5":           false,
		"function (a) return a":         true,
		"function (a) return a end":     false,
		"x = \"quoted":                  false,
		"foo bar":                       false,
		"end":                           false,
		"x = 1 )":                       false,
		"x = = 1 function f()":          false,
		"goto":                          true,
		"while true do if x then y() elseif z then": true,
		"5 = 3":                               false,
		"f() = 1":                             false,
		"\x00":                                false,
		"Handlers.add('ping',\nfunction(msg)": true,
	} {
		if got := unfinished(code); got != want {
			t.Errorf("%q: unfinished is %v, want %v", code, got, want)
		}
	}
}
