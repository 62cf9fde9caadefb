package gateway

import (
	"net/http"
	"slices"
	"strings"
)

// Route is one line of the table of everything that is served over HTTP.
type Route struct {
	Surface Surface // "" is every one
	Method  string
	Path    string
	What    string
	Params  []Param
	Body    string   // what is sent: item, json, told, or nothing
	Answers []Answer // what comes back when all is well; refusals are the same everywhere

	yields bool // on a door of several surfaces, another's route at the same address goes before
	do     handler
}

// Param is a part of a route that the caller fills in.
type Param struct {
	Name, In string // In is query, path or header
	Needed   bool
	What     string
}

// Answer is what a route gives when all is well.
type Answer struct {
	Status int
	Kind   string // content type
	What   string
	Like   any // a value of the type that is written as JSON; nil for what is no JSON
}

// handler answers a request, or says why not.
type handler func(g *Gateway, w http.ResponseWriter, r *http.Request) error

// Routes is where HTTP begins: every method and path, who answers it, and what comes back.
func Routes() []Route {
	return slices.Concat(ownRoutes(), messengerRoutes(), schedulerRoutes(), computerRoutes(), hyperbeamRoutes())
}

// ownRoutes are on every surface.
func ownRoutes() []Route {
	return []Route{
		{
			Method: "GET", Path: "/health", What: "Whether the peer takes work.", do: (*Gateway).health,
			Answers: []Answer{{Status: 200, Kind: kindText, What: "It does; nothing is said."}},
		},
		{
			Method: "GET", Path: "/status", What: "What the peer does at the moment, for people and monitors.", do: (*Gateway).status,
			Answers: []Answer{{Status: 200, Kind: kindJSON, What: "The peer, its units and their counts.", Like: map[string]any{}}},
		},
	}
}

// messengerRoutes are what clients take for a messenger (mu).
func messengerRoutes() []Route {
	return []Route{
		{
			Surface: Messenger, Method: "GET", Path: "/", What: "A word for people.", do: (*Gateway).greet, yields: true,
			Answers: []Answer{{Status: 200, Kind: kindText, What: "ao messenger unit"}},
		},
		{
			Surface: Messenger, Method: "POST", Path: "/", Body: bodyItem, do: (*Gateway).push,
			What:    "Push a signed message or process, or assign a message that exists: it is scheduled, and what follows from its result is pushed in turn.",
			Params:  assignParams(),
			Answers: []Answer{{Status: 202, Kind: kindJSON, What: "It is safe: scheduled, or queued until its scheduler answers.", Like: accepted{}}},
		},
		{
			Surface: Messenger, Method: "POST", Path: "/monitor/{pid}", Body: bodyItem, do: (*Gateway).monitor,
			What:    "Push what the process sends by its own clock, from now on. The item names the process as its target.",
			Params:  []Param{{"pid", "path", true, "The process."}},
			Answers: []Answer{{Status: 200, Kind: kindText, What: "It is, durably."}},
		},
		{
			Surface: Messenger, Method: "DELETE", Path: "/monitor/{pid}", Body: bodyItem, do: (*Gateway).unmonitor,
			What:    "End that: what the signer asked for or, signed by the process's owner, what anybody asked for.",
			Params:  []Param{{"pid", "path", true, "The process."}},
			Answers: []Answer{{Status: 200, Kind: kindText, What: "It is ended, as far as the signer can say."}},
		},
	}
}

// schedulerRoutes are what clients take for a scheduler (su).
func schedulerRoutes() []Route {
	process := Param{"process-id", "query", false, "The process whose log is asked."}
	return []Route{
		{
			Surface: Scheduler, Method: "GET", Path: "/", What: "Who schedules here, and the time.", do: (*Gateway).scheduler,
			Params:  []Param{{"process-id", "query", false, "Is not looked at: nobody is sent elsewhere."}},
			Answers: []Answer{{Status: 200, Kind: kindJSON, What: "The unit's address.", Like: schedulerInfo{}}},
		},
		{
			Surface: Scheduler, Method: "GET", Path: "/timestamp", What: "Time and block height as a new assignment would have them.", do: (*Gateway).timestamp,
			Params:  []Param{process},
			Answers: []Answer{{Status: 200, Kind: kindJSON, What: "Both as text.", Like: timestampInfo{}}},
		},
		{
			Surface: Scheduler, Method: "POST", Path: "/", Body: bodyItem, do: (*Gateway).schedule, yields: true,
			What:    "Schedule a signed message or process, or a message that exists, without pushing what follows from it.",
			Params:  assignParams(),
			Answers: []Answer{{Status: 200, Kind: kindJSON, What: "It has its slot, durably.", Like: scheduled{}}},
		},
		{
			Surface: Scheduler, Method: "GET", Path: "/{id}", do: (*Gateway).entries,
			What: "The log of a process, page by page, or the one entry of a message or assignment.",
			Params: []Param{
				{"id", "path", true, "A process, a message or an assignment."},
				{"process-id", "query", false, "The process whose log is meant; needed unless the id is that."},
				{"from", "query", false, "Only entries after this timestamp, in milliseconds."},
				{"to", "query", false, "Only entries up to this timestamp."},
				{"from-nonce", "query", false, "Only entries after this slot; -1 is all of them."},
				{"to-nonce", "query", false, "Only entries up to this slot."},
				{"limit", "query", false, "Entries on the page: 100, at most 1000."},
				{"show-anchor", "query", false, "If it is there, the anchors of assignments are shown, in base64url."},
			},
			Answers: []Answer{{Status: 200, Kind: kindJSON, What: "A page; for a message or an assignment its node alone.", Like: page{}}},
		},
		{
			Surface: Scheduler, Method: "GET", Path: "/processes/{pid}", What: "The process as its owner signed it.", do: (*Gateway).process,
			Params:  []Param{{"pid", "path", true, "The process."}},
			Answers: []Answer{{Status: 200, Kind: kindJSON, What: "The process.", Like: processInfo{}}},
		},
		{
			Surface: Scheduler, Method: "GET", Path: "/{pid}/latest", What: "The last entry of a log.", do: (*Gateway).latest,
			Params:  []Param{{"pid", "path", true, "The process."}},
			Answers: []Answer{{Status: 200, Kind: kindJSON, What: "The entry.", Like: node{}}},
		},
	}
}

// computerRoutes are what clients take for a computer (cu).
func computerRoutes() []Route {
	process := Param{"process-id", "query", true, "The process."}
	return []Route{
		{
			Surface: Computer, Method: "GET", Path: "/", What: "Who computes here, and the time.", do: (*Gateway).computer, yields: true,
			Answers: []Answer{{Status: 200, Kind: kindJSON, What: "The unit's address.", Like: computerInfo{}}},
		},
		{
			Surface: Computer, Method: "GET", Path: "/result/{id}", What: "The result of a message.", do: (*Gateway).result, yields: true,
			Params:  []Param{{"id", "path", true, "The message, its assignment, or the process itself."}, process},
			Answers: []Answer{{Status: 200, Kind: kindJSON, What: "The result.", Like: resultInfo{}}},
		},
		{
			Surface: Computer, Method: "GET", Path: "/results/{pid}", What: "The results of a process in the order of its log.", do: (*Gateway).results,
			Params: []Param{
				{"pid", "path", true, "The process."},
				{"from", "query", false, "A cursor or a timestamp: only what comes after it."},
				{"to", "query", false, "A cursor or a timestamp: only what comes up to it."},
				{"sort", "query", false, "ASC or DESC; that of a cursor goes before."},
				{"limit", "query", false, "Results on the page: 25, at most 1000."},
			},
			Answers: []Answer{{Status: 200, Kind: kindJSON, What: "A page.", Like: resultPage{}}},
		},
		{
			Surface: Computer, Method: "GET", Path: "/cron/{pid}", What: "The results of what a process does by its own clock, in order, evaluated up to now.", do: (*Gateway).cron,
			Params: []Param{
				{"pid", "path", true, "The process."},
				{"from", "query", false, "A cursor or a timestamp: only what comes after it."},
				{"to", "query", false, "A cursor or a timestamp: only what comes up to it."},
				{"limit", "query", false, "Results on the page: 500, at most 1000."},
			},
			Answers: []Answer{{Status: 200, Kind: kindJSON, What: "A page.", Like: resultPage{}}},
		},
		{
			Surface: Computer, Method: "POST", Path: "/dry-run", What: "Evaluate a message on a copy of a state and forget it.", Body: bodyJSON, do: (*Gateway).dryRun,
			Params: []Param{
				process,
				{"to", "query", false, "A message, or its assignment: on the state after its slot, not the newest."},
				{"x-max-age", "header", false, "Seconds: the answer to the same question may be as old, at most 60."},
			},
			Answers: []Answer{{Status: 200, Kind: kindJSON, What: "The result.", Like: resultInfo{}}},
		},
		{
			Surface: Computer, Method: "GET", Path: "/state/{pid}", What: "The memory of a process.", do: (*Gateway).state,
			Params: []Param{
				{"pid", "path", true, "The process."},
				{"to", "query", false, "A timestamp: after the last slot up to it, not the newest."},
			},
			Answers: []Answer{{Status: 200, Kind: kindBytes, What: "The linear memory. Last-Timestamp, Last-Ordinate and Last-Block-Height say of which slot."}},
		},
	}
}

// hyperbeamRoutes are what a HyperBEAM node takes for the computer beside it, besides those of any computer.
func hyperbeamRoutes() []Route {
	process := Param{"process-id", "query", true, "The process."}
	slot := Param{"id", "path", true, "The slot."}
	result := []Answer{{
		Status: 200, Kind: kindJSON, Like: resultInfo{},
		What: "The result. Message, timestamp, block-height and slot say of what; cold-start, cu-cached and eval-stream-length what it took.",
	}}
	return []Route{
		{
			Surface: HyperBEAM, Method: "POST", Path: "/result/{id}", Body: bodyTold, do: (*Gateway).told, Answers: result,
			What:   "Evaluate a process up to a slot. The body, a page with that slot alone, is used if it is the next one; else the node's schedule is read.",
			Params: []Param{slot, process},
		},
		{
			Surface: HyperBEAM, Method: "GET", Path: "/result/{id}", What: "The result of a slot.", do: (*Gateway).toldResult, Answers: result,
			Params: []Param{slot, process},
		},
		{
			Surface: HyperBEAM, Method: "POST", Path: "/snapshot/{pid}", What: "Write a checkpoint of a process that is in memory.", do: (*Gateway).snapshot,
			Params:  []Param{{"pid", "path", true, "The process."}},
			Answers: []Answer{{Status: 200, Kind: kindJSON, What: "Of which slot it is, also in the headers snapshot-*.", Like: snapshotInfo{}}},
		},
	}
}

// Handler serves the surfaces together, behind the guards that every request passes.
func (g *Gateway) Handler(surfaces ...Surface) http.Handler {
	paths := map[string]map[string]Route{}
	for _, r := range Routes() {
		if r.Surface != "" && !serves(surfaces, r.Surface) {
			continue
		}
		methods := paths[r.Path]
		if methods == nil {
			methods = map[string]Route{}
			paths[r.Path] = methods
		}
		if other, taken := methods[r.Method]; !taken || other.yields {
			methods[r.Method] = r
		}
	}
	mux := http.NewServeMux()
	for path, methods := range paths {
		mux.Handle(pattern(path), g.methods(path, methods))
	}
	if _, ok := paths["/"]; !ok {
		mux.Handle("/{$}", g.answered(func(*Gateway, http.ResponseWriter, *http.Request) error { return errNoRoute }))
	}
	mux.Handle("/", g.answered(func(*Gateway, http.ResponseWriter, *http.Request) error { return errNoRoute }))
	return g.guard(mux)
}

// pattern is a path as the mux takes it. What follows a variable is matched by a variable too, which the mux can tell from
// other paths, and is looked at by methods.
func pattern(path string) string {
	if path == "/" {
		return "/{$}"
	}
	if before, after, ok := strings.Cut(path, "}/"); ok {
		return before + "}/{" + after + "}"
	}
	return path
}

// methods answers a path by method; HEAD is GET without what it says.
func (g *Gateway) methods(path string, routes map[string]Route) http.Handler {
	var allowed []string
	for _, m := range []string{"GET", "HEAD", "POST", "DELETE"} {
		if _, ok := routes[m]; ok || m == "HEAD" && routes["GET"].do != nil {
			allowed = append(allowed, m)
		}
	}
	_, word, hasWord := strings.Cut(path, "}/")
	return g.answered(func(g *Gateway, w http.ResponseWriter, r *http.Request) error {
		if hasWord && r.PathValue(word) != word {
			return errNoRoute
		}
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		route, ok := routes[method]
		if !ok {
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			return refused(http.StatusMethodNotAllowed, "%.16q is not answered here; %s is", r.Method, strings.Join(allowed, " or "))
		}
		return route.do(g, w, r)
	})
}
