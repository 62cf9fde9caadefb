package node

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/p2p"
)

// Config is a peer's config.toml. Environment variables override it and flags override those: see Home.Effective. The
// tags of its fields are the table from which flags, help and docs/config.md are made (Settings).
type Config struct {
	Name      string   `toml:"name" flag:"name" comment:"Shown to other peers, at most 32 bytes."`
	Roles     []string `toml:"roles" flag:"role" one:"su,cu,mu" comment:"What the peer does for others: su schedules, cu computes, mu pushes. Without a role it only relays."`
	Listen    []string `toml:"listen" flag:"listen" comment:"Multiaddrs to listen on. Empty is every IPv4 interface on a port that the system chooses, TCP and QUIC."`
	Bootstrap []string `toml:"bootstrap" flag:"bootstrap" comment:"Multiaddrs with /p2p/ID of peers to meet the mesh through, beside those of the network file."`
	Gateways  []string `toml:"gateways" flag:"gateway" comment:"URLs of Arweave gateways, in order. Empty is those of the network file."`
	Wallet    string   `toml:"wallet" flag:"wallet" comment:"Arweave wallet (JWK file) that pays for settlement. Empty is wallet.json in the home."`
	Drain     Duration `toml:"drain" flag:"drain" zero:"yes" comment:"How long a peer that is told to stop finishes what it has acknowledged; a second signal ends the wait. 0s stops at once."`

	P2P      P2PConfig      `toml:"p2p"`
	Limits   LimitsConfig   `toml:"limits"`
	Settle   SettleConfig   `toml:"settle"`
	Schedule ScheduleConfig `toml:"schedule"`
	Compute  ComputeConfig  `toml:"compute"`
	Push     PushConfig     `toml:"push"`
	Market   MarketConfig   `toml:"market"`
	HTTP     HTTPConfig     `toml:"http"`
	Admin    AdminConfig    `toml:"admin"`

	Elsewhere ElsewhereConfig `toml:"elsewhere"`

	Log LogConfig `toml:"log"`
}

// P2PConfig is with whom the peer talks.
type P2PConfig struct {
	MDNS      bool     `toml:"mdns" flag:"mdns" comment:"Find peers of the network on the local one by multicast DNS."`
	Relay     string   `toml:"relay" flag:"relay" one:"on,off" comment:"Whether peers behind a NAT are reached through others. A peer with it on carries for them if it can be reached from everywhere, and is carried for if it cannot."`
	Reachable string   `toml:"reachable" flag:"reachable" one:"auto,public,private" comment:"Whether others can connect to the peer; auto finds out by asking them to."`
	Deny      []string `toml:"deny" flag:"deny" comment:"Who is never talked to: peer IDs, IP addresses, and subnets such as 192.0.2.0/24."`
}

// LimitsConfig bounds what other peers may cost this one.
type LimitsConfig struct {
	Memory          Size     `toml:"memory" comment:"Buffers for all peers together; a single peer gets at most half, and less when others want some."`
	Conns           int      `toml:"conns" comment:"Connections; beyond two thirds of it the least useful are trimmed."`
	ConnsPerIP      int      `toml:"conns_per_ip" comment:"Connections from one IPv4 address or IPv6 /56. Loopback is exempt."`
	StreamsPerPeer  int      `toml:"streams_per_peer" comment:"Streams of one peer that are served at once."`
	Streams         int      `toml:"streams" comment:"Streams that all peers together have opened; when many want some, each gets a fair share."`
	CallsPerSecond  float64  `toml:"calls_per_second" comment:"Streams that one peer may open, in the long run."`
	CallBurst       int      `toml:"call_burst" comment:"Streams that one peer may open at once after a pause."`
	GossipPerSecond float64  `toml:"gossip_per_second" comment:"Messages and requests that one neighbour may gossip, in the long run."`
	GossipBurst     int      `toml:"gossip_burst" comment:"Those that it may gossip at once after a pause."`
	MaxRequest      Size     `toml:"max_request" comment:"What a served stream may send, all frames together."`
	MaxResponse     Size     `toml:"max_response" comment:"One frame of an answer."`
	MaxMessage      Size     `toml:"max_message" comment:"One gossip message."`
	Timeout         Duration `toml:"timeout" comment:"Opening a stream, and reading or writing one frame."`
	LowPeers        int      `toml:"low_peers" comment:"Connected peers below which known ones are dialled."`
	KnownPeers      int      `toml:"known_peers" comment:"Peers that are remembered over a restart."`
	RelayPeers      int      `toml:"relay_peers" comment:"Peers behind a NAT that can be reached through this one at a time."`
	RelayCircuits   int      `toml:"relay_circuits" comment:"Connections that each of them may have through this one."`
	RelayFor        Duration `toml:"relay_for" comment:"The longest that one of these lasts."`
	RelayBytes      Size     `toml:"relay_bytes" comment:"The most that one of these carries each way."`
}

// SettleConfig is how entries and claims go to Arweave.
type SettleConfig struct {
	MaxAge      Duration `toml:"max_age" flag:"settle-age" comment:"How long an item waits for others to share a bundle."`
	Depth       uint64   `toml:"depth" flag:"settle-depth" comment:"Confirmations after which a bundle counts as settled."`
	Poll        Duration `toml:"poll" comment:"How often the gateway is asked about a posted bundle. Unless it is given, at most settle.max_age."`
	MaxBytes    Size     `toml:"max_bytes" comment:"Closes a bundle by size; a larger item is a bundle of its own."`
	MaxItems    int      `toml:"max_items" comment:"Closes a bundle by count."`
	MaxFee      string   `toml:"max_fee" comment:"The most winston that one transaction may cost, whatever a gateway asks."`
	RepostAfter Duration `toml:"repost_after" comment:"How long a posted bundle may be unknown to the gateways before it is posted again."`
}

// ScheduleConfig bounds a scheduler unit (su).
type ScheduleConfig struct {
	MaxMessage   Size     `toml:"max_message" comment:"One message."`
	MaxSchedules int      `toml:"max_schedules" comment:"Calls at once; more are refused as busy."`
	MaxWaiting   int      `toml:"max_waiting" comment:"Of them for one process."`
	MaxFollowers int      `toml:"max_followers" comment:"Readers that follow a log."`
	Cache        Size     `toml:"cache" comment:"Recent entries in memory, and as much again for heads of logs."`
	HeightEvery  Duration `toml:"height_every" comment:"How often the block height is asked for."`
	FundsEvery   Duration `toml:"funds_every" comment:"How often the wallet's balance is asked for."`
}

// ComputeConfig is what a computing unit (cu) may use.
type ComputeConfig struct {
	MaxHot          int      `toml:"max_hot" comment:"Processes in the machine at once; the others are kept packed, or on disk."`
	MaxMemory       Size     `toml:"max_memory" comment:"Memory that those take."`
	MaxPacked       Size     `toml:"max_packed" comment:"Memory for idle processes that are kept packed besides."`
	MaxCode         Size     `toml:"max_code" comment:"Compiled modules kept in memory beyond those in use."`
	MaxCache        Size     `toml:"max_cache" comment:"Compiled modules kept on disk."`
	Workers         int      `toml:"workers" zero:"yes" comment:"Processes evaluated at one moment; 0 is one for each core."`
	MaxWaiting      int      `toml:"max_waiting" comment:"Callers that wait; more are refused as busy."`
	MaxWaitingEach  int      `toml:"max_waiting_each" comment:"Of them for one process."`
	MaxWait         Duration `toml:"max_wait" comment:"The longest that a caller waits; then it hears how far the evaluation is, which goes on."`
	CompileWait     Duration `toml:"compile_wait" comment:"How long a process waits for its module's compilation before its callers are refused."`
	CheckpointEvery int      `toml:"checkpoint_every" comment:"Slots between two checkpoints on disk."`
	KeepCheckpoints int      `toml:"keep_checkpoints" comment:"Checkpoints kept of each process."`
	ClaimAge        Duration `toml:"claim_age" comment:"How long a claim waits for others to share a batch. Unless it is given, at most settle.max_age."`
}

// PushConfig bounds a messenger unit (mu).
type PushConfig struct {
	Workers  int      `toml:"workers" comment:"Steps at once."`
	MaxTasks int      `toml:"max_tasks" comment:"Open pushes; more are refused as busy."`
	Retry    Duration `toml:"retry" comment:"Pause after a failed step; it doubles up to push.retry_max."`
	RetryMax Duration `toml:"retry_max" comment:"The longest pause between two tries."`
	GiveUp   Duration `toml:"give_up" comment:"How long a step is tried before it is dropped; anybody can push it again."`
	Keep     Duration `toml:"keep" comment:"How long the hops of a push are kept after its end."`

	CronEvery   Duration `toml:"cron_every" comment:"How often a computer is asked for ticks of one monitored process, at most."`
	MaxMonitors int      `toml:"max_monitors" comment:"Processes whose ticks are pushed; more are refused as busy."`
}

// HTTPConfig is where the peer's roles answer clients of today's ao (aoconnect, aos) over HTTP. Nobody pays there, and none
// is told from another but by address.
type HTTPConfig struct {
	Listen    string   `toml:"listen" flag:"http" comment:"HOST:PORT where all roles of the peer answer over HTTP. Without HOST it is 127.0.0.1; 0.0.0.0 is for everybody. Empty is off."`
	MU        string   `toml:"mu" flag:"http-mu" comment:"HOST:PORT for the messenger alone."`
	SU        string   `toml:"su" flag:"http-su" comment:"HOST:PORT for the scheduler alone."`
	CU        string   `toml:"cu" flag:"http-cu" comment:"HOST:PORT for the computer alone."`
	URL       string   `toml:"url" flag:"http-url" comment:"URL at which others reach the scheduler here. It is said on Arweave (Scheduler-Location), so that units of today's network find it. Empty says nothing."`
	HyperBEAM string   `toml:"hyperbeam" flag:"hyperbeam" comment:"URL of a HyperBEAM node on this machine whose computer the peer is: its processes are computed on its word, and nothing is signed for them. The peer has the role cu alone, its address is loopback, and its home has joined no network. Empty is off."`
	Patience  Duration `toml:"patience" comment:"How long an evaluation is waited for; then the caller hears how far it is, and it goes on."`
	Rate      float64  `toml:"calls_per_second" comment:"Requests of one IPv4 address or IPv6 /56, in the long run. Loopback is exempt: a proxy on this machine has to limit."`
	Burst     int      `toml:"call_burst" comment:"Requests of one address at once after a pause."`
	DryRate   float64  `toml:"dry_runs_per_second" comment:"Of them, dry-runs in the long run."`
	DryBurst  int      `toml:"dry_run_burst" comment:"Dry-runs of one address at once after a pause."`
	DryRuns   int      `toml:"dry_runs" comment:"Dry-runs of one process under way at once; more are turned away."`
	Requests  int      `toml:"requests" comment:"Requests served at once; more are turned away."`
	Conns     int      `toml:"conns" comment:"Connections to one address; more wait."`
	BodyTime  Duration `toml:"body_time" comment:"For a request's body to come in."`

	everyLog bool // the scheduler shows whatever the directory finds, not its own logs alone: of a devnet
}

// ElsewhereConfig is how the peer deals with schedulers of today's network, which are reached over HTTP.
type ElsewhereConfig struct {
	URL     string `toml:"url" flag:"scheduler-url" comment:"URL of the scheduler that is asked for every process which this peer does not schedule itself. Empty finds each by its Scheduler-Location on Arweave, if it is not on the mesh."`
	Private bool   `toml:"private" comment:"Follow a Scheduler-Location to this machine and to private networks too, wherever a stranger's points."`
	Wallet  string `toml:"wallet" comment:"Wallet that signs what the messenger sends there, since they take no signatures of unit keys: an Arweave wallet (JWK file), or a file with an Ethereum key in hexadecimal. Empty is the unit key."`
}

// AdminConfig is where the operator's own tools ask: metrics, health and profiles, without any authentication.
type AdminConfig struct {
	Listen string `toml:"listen" flag:"admin" comment:"HOST:PORT for /metrics, /healthz, /readyz and /debug/pprof/. Empty is off."`
	Public bool   `toml:"public" flag:"admin-public" comment:"Allow admin.listen to be other than loopback. Whoever reaches it can read profiles and slow the peer down."`
}

// LogConfig is what the peer writes to standard error.
type LogConfig struct {
	Level  string `toml:"level" flag:"log-level" one:"debug,info,warn,error" comment:"The least that is written: debug is every hop, info the outcome of a push."`
	Format string `toml:"format" flag:"log-format" one:"text,json" comment:"text is for people, json one object a line for machines."`
}

// DefaultConfig is a config without roles.
func DefaultConfig() Config {
	l, r := p2p.DefaultLimits(), p2p.DefaultRelay()
	return Config{
		Drain: Duration(10 * time.Second),
		P2P:   P2PConfig{Relay: "on", Reachable: "auto"},
		Limits: LimitsConfig{
			Memory: Size(l.Memory), Conns: l.Conns, ConnsPerIP: l.ConnsPerIP, StreamsPerPeer: l.StreamsPerPeer,
			CallsPerSecond: l.CallsPerSecond, CallBurst: l.CallBurst, MaxRequest: Size(l.MaxRequest),
			MaxResponse: Size(l.MaxResponse), MaxMessage: Size(l.MaxMessage), Timeout: Duration(l.Timeout),
			LowPeers: l.LowPeers, KnownPeers: l.KnownPeers, Streams: l.Streams, GossipPerSecond: l.GossipPerSecond,
			GossipBurst: l.GossipBurst,
			RelayPeers:  r.Peers, RelayCircuits: r.Circuits, RelayFor: Duration(r.Duration), RelayBytes: Size(r.Bytes),
		},
		Settle: SettleConfig{
			MaxAge: Duration(30 * time.Second), Depth: 10, Poll: Duration(15 * time.Second), MaxBytes: 8 << 20, MaxItems: 1000,
			MaxFee: "1000000000000", RepostAfter: Duration(5 * time.Minute),
		},
		Schedule: ScheduleConfig{
			MaxMessage: ao.MaxItem, MaxSchedules: 1024, MaxWaiting: 256, MaxFollowers: 4096, Cache: 32 << 20,
			HeightEvery: Duration(2 * time.Second), FundsEvery: Duration(30 * time.Second),
		},
		Compute: ComputeConfig{
			MaxHot: 256, MaxMemory: 4 << 30, MaxPacked: 1 << 30, MaxCode: 512 << 20, MaxCache: 2 << 30, MaxWaiting: 4096,
			MaxWaitingEach: 256, MaxWait: Duration(10 * time.Minute), CompileWait: Duration(time.Minute), CheckpointEvery: 1000, KeepCheckpoints: 3, ClaimAge: Duration(time.Minute),
		},
		Push: PushConfig{
			Workers: 64, MaxTasks: 100_000, Retry: Duration(200 * time.Millisecond), RetryMax: Duration(time.Minute),
			GiveUp: Duration(24 * time.Hour), Keep: Duration(7 * 24 * time.Hour), CronEvery: Duration(10 * time.Second), MaxMonitors: 1024,
		},
		HTTP:   defaultHTTP(),
		Market: defaultMarket(),
		Log:    LogConfig{Level: "info", Format: "text"},
	}
}

// Validate says what is wrong, in one line that names the setting.
func (c Config) Validate() error {
	for _, s := range Settings() {
		for _, v := range s.values(c) {
			if len(s.OneOf) > 0 && !slices.Contains(s.OneOf, v) {
				return fmt.Errorf("%s %q is none of %s", s.Key, v, strings.Join(s.OneOf, ", "))
			}
		}
		if n, ok := s.number(c); ok && (n < 0 || n == 0 && !s.zero) {
			return fmt.Errorf("%s is %s: it must be above zero", s.Key, s.Text(c))
		}
	}
	if len(c.Name) > 32 {
		return fmt.Errorf("name has %d bytes, at most 32", len(c.Name))
	}
	if c.Schedule.MaxMessage > ao.MaxItem {
		return fmt.Errorf("schedule.max_message is %s, at most %s", c.Schedule.MaxMessage, Size(ao.MaxItem))
	}
	if err := c.Market.Validate(); err != nil {
		return err
	}
	if err := c.HTTP.validate(c.Roles); err != nil {
		return err
	}
	return c.Admin.Validate()
}

// Validate wants a port, and an address that only this machine reaches unless told otherwise.
func (a AdminConfig) Validate() error {
	if a.Listen == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(a.Listen)
	if err != nil {
		return fmt.Errorf("admin.listen %q is not HOST:PORT, such as 127.0.0.1:9100", a.Listen)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("admin.listen %q has no port from 0 to 65535", a.Listen)
	}
	if ip, err := netip.ParseAddr(host); !a.Public && (err != nil || !ip.IsLoopback()) {
		return fmt.Errorf("admin.listen %q can be reached from other machines and has no password: use 127.0.0.1, or set admin.public (--admin-public)", a.Listen)
	}
	return nil
}

// limits are the bounds as p2p takes them.
func (l LimitsConfig) limits() p2p.Limits {
	return p2p.Limits{
		Memory: int64(l.Memory), Conns: l.Conns, ConnsPerIP: l.ConnsPerIP, StreamsPerPeer: l.StreamsPerPeer,
		CallsPerSecond: l.CallsPerSecond, CallBurst: l.CallBurst, MaxRequest: int(l.MaxRequest), MaxResponse: int(l.MaxResponse),
		MaxMessage: int(l.MaxMessage), Timeout: time.Duration(l.Timeout), LowPeers: l.LowPeers, KnownPeers: l.KnownPeers,
		Streams: l.Streams, GossipPerSecond: l.GossipPerSecond, GossipBurst: l.GossipBurst,
	}
}

// relay is how the peer meets those that cannot be dialled, as p2p takes it.
func (c Config) relay() p2p.Relay {
	r := p2p.Relay{
		Off: c.P2P.Relay == "off", Peers: c.Limits.RelayPeers, Circuits: c.Limits.RelayCircuits,
		Duration: time.Duration(c.Limits.RelayFor), Bytes: int64(c.Limits.RelayBytes),
	}
	if c.P2P.Reachable != "auto" {
		r.Reachable = p2p.Reachable(c.P2P.Reachable)
	}
	return r
}

// workers is the number of processes evaluated at one moment.
func (c ComputeConfig) workers() int {
	if c.Workers == 0 {
		return min(runtime.NumCPU(), runtime.GOMAXPROCS(0)) // of Go's processors there may be more than real ones
	}
	return c.Workers
}

// Does says whether the config has that role.
func (c Config) Does(role string) bool { return slices.Contains(c.Roles, role) }

// Duration is a time.Duration that TOML writes as text such as 2s.
type Duration time.Duration

// String is the text form.
func (d Duration) String() string {
	text := time.Duration(d).String()
	for _, zero := range []string{"0s", "0m"} { // 1h rather than 1h0m0s
		if cut, ok := strings.CutSuffix(text, zero); ok && cut != "" && (cut[len(cut)-1] == 'm' || cut[len(cut)-1] == 'h') {
			text = cut
		}
	}
	return text
}

// MarshalText is the text form.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads the text form.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a duration such as 2s", b)
	}
	*d = Duration(v)
	return nil
}

// Size is a number of bytes that TOML writes as text such as 16MiB.
type Size int64

// String is the text form, in the largest unit that leaves no rest.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if s > 0 && s%u.size == 0 {
			return fmt.Sprintf("%d%s", s/u.size, u.name)
		}
	}
	return fmt.Sprintf("%dB", int64(s))
}

// MarshalText is the text form.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the text form; a bare number is bytes.
func (s *Size) UnmarshalText(b []byte) error {
	text, unit := strings.TrimSpace(string(b)), Size(1)
	for _, u := range sizeUnits {
		if cut, ok := strings.CutSuffix(text, u.name); ok {
			text, unit = strings.TrimSpace(cut), u.size
			break
		}
	}
	text = strings.TrimSuffix(text, "B")
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > 1<<50/int64(unit) {
		return fmt.Errorf("%q is not a size such as 16MiB", b)
	}
	*s = Size(n) * unit
	return nil
}

// sizeUnits is a constant table, the largest first.
var sizeUnits = []struct {
	name string
	size Size
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}
