package node

import (
	"fmt"
	"slices"
	"time"

	"github.com/aopeer/aopeer/units/remote"
)

// Config is a peer's config.toml. Flags and environment variables of `aopeer run` override it.
type Config struct {
	Name      string   `toml:"name" comment:"Shown to other peers."`
	Roles     []string `toml:"roles" comment:"Any of su, cu, mu; none makes a peer that only relays."`
	Listen    []string `toml:"listen" comment:"Multiaddrs to listen on; empty means every interface, any port."`
	Bootstrap []string `toml:"bootstrap" comment:"Peers to meet the mesh through, beside those of the network file."`
	Gateways  []string `toml:"gateways" comment:"Arweave gateways, in order; empty means those of the network file."`
	Wallet    string   `toml:"wallet" comment:"Arweave wallet (JWK) that pays for settlement; empty means wallet.json in the home."`

	Settle  SettleConfig  `toml:"settle"`
	Compute ComputeConfig `toml:"compute"`
}

// SettleConfig is how entries and claims go to Arweave.
type SettleConfig struct {
	MaxAge Duration `toml:"max_age" comment:"How long an item waits for others to share a bundle."`
	Depth  uint64   `toml:"depth" comment:"Confirmations after which a bundle counts as settled."`
	Poll   Duration `toml:"poll" comment:"How often the gateway is asked about a posted bundle."`
}

// ComputeConfig is what a computing unit may use.
type ComputeConfig struct {
	MaxHot          int      `toml:"max_hot" comment:"Processes held in memory at once."`
	CheckpointEvery int      `toml:"checkpoint_every" comment:"Slots between two checkpoints on disk."`
	ClaimAge        Duration `toml:"claim_age" comment:"How long a claim waits for others to share a batch."`
}

// Duration is a time.Duration that TOML writes as text such as 2s.
type Duration time.Duration

// MarshalText is the text form.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads the text form.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a duration such as 2s", b)
	}
	*d = Duration(v)
	return nil
}

// DefaultConfig is a config without roles.
func DefaultConfig() Config {
	return Config{
		Settle:  SettleConfig{MaxAge: Duration(30 * time.Second), Depth: 10, Poll: Duration(15 * time.Second)},
		Compute: ComputeConfig{MaxHot: 64, CheckpointEvery: 1000, ClaimAge: Duration(time.Minute)},
	}
}

// Validate says what is wrong, in one line that names the setting.
func (c Config) Validate() error {
	for _, r := range c.Roles {
		if !slices.Contains([]string{remote.RoleScheduler, remote.RoleComputer, remote.RoleMessenger}, r) {
			return fmt.Errorf("role %q is none of su, cu, mu", r)
		}
	}
	if len(c.Name) > 32 {
		return fmt.Errorf("name has %d bytes, at most 32", len(c.Name))
	}
	if c.Compute.MaxHot < 1 || c.Compute.CheckpointEvery < 1 {
		return fmt.Errorf("compute.max_hot and compute.checkpoint_every must be at least 1")
	}
	return nil
}

// Does says whether the config has that role.
func (c Config) Does(role string) bool { return slices.Contains(c.Roles, role) }
