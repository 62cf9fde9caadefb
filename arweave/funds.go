package arweave

import (
	"context"
	"fmt"
	"math"
	"math/big"
	"strings"

	"github.com/aopeer/aopeer/arweave/l1"
)

// Funds is what a wallet can still settle, in winston.
type Funds struct {
	// Balance is what the gateway says is in the wallet.
	Balance *big.Int
	// PerByte is the price of a byte in a full bundle, rounded up.
	PerByte *big.Int
	// Least is the price of the smallest transaction.
	Least *big.Int
	// Reserved is what transactions that are signed but not confirmed may still cost.
	Reserved *big.Int
	// Queued are the bytes that wait for a bundle.
	Queued int64
}

// fundsMargin is by how much prices may rise, in percent, before what was taken on cannot be paid for.
const fundsMargin = 25

// spareBundles is for how many bundles the least price is put aside, because bundles are seldom full.
const spareBundles = 2

// Bytes is how many bytes more can be settled; free means that bytes cost nothing.
func (f Funds) Bytes() (n int64, free bool) {
	if f.PerByte.Sign() == 0 && f.Least.Sign() == 0 {
		return 0, true
	}
	margin := big.NewInt(100 + fundsMargin)
	left := new(big.Int).Sub(f.Balance, f.Reserved)
	least := new(big.Int).Mul(f.Least, margin)
	left.Mul(left, big.NewInt(100)).Sub(left, least.Mul(least, big.NewInt(spareBundles)))
	if left.Sign() <= 0 {
		return 0, false
	}
	perByte := new(big.Int).Mul(f.PerByte, margin)
	if perByte.Sign() == 0 {
		return math.MaxInt64 / 2, false
	}
	left.Quo(left, perByte)
	if !left.IsInt64() || left.Int64() > math.MaxInt64/2 {
		return math.MaxInt64 / 2, false
	}
	return max(left.Int64()-f.Queued, 0), false
}

// Balance fetches what an address holds, in winston.
func (c *Client) Balance(ctx context.Context, address string) (*big.Int, error) {
	return anyGateway(ctx, c, func(ctx context.Context, g *gateway) (*big.Int, error) {
		body, err := c.get(ctx, g, "/wallet/"+address+"/balance", maxShortAnswer)
		if err != nil {
			return nil, err
		}
		balance, err := l1.ParseWinston(strings.TrimSpace(string(body)))
		if err != nil {
			return nil, fmt.Errorf("%w: balance: %w", ErrCorrupt, err)
		}
		return balance, nil
	})
}

// Funds says what the bundler's wallet can still pay for.
func (b *Bundler) Funds(ctx context.Context) (Funds, error) {
	if err := b.load(); err != nil {
		return Funds{}, err
	}
	// What is reserved and queued is counted first: what is mined meanwhile is counted twice rather than not at all.
	f := Funds{Reserved: new(big.Int)}
	b.lock.Lock()
	for _, fl := range b.flights {
		f.Reserved.Add(f.Reserved, fl.tx.Reward).Add(f.Reserved, fl.tx.Quantity)
	}
	f.Queued = b.bytes
	b.lock.Unlock()
	full := int(b.cfg.MaxBytes)
	price, err := b.cfg.Client.price(ctx, full, "")
	if err != nil {
		return Funds{}, fmt.Errorf("get price: %w", err)
	}
	if f.Least, err = b.cfg.Client.price(ctx, 1, ""); err != nil {
		return Funds{}, fmt.Errorf("get price: %w", err)
	}
	f.PerByte = price.Add(price, big.NewInt(int64(full-1)))
	f.PerByte.Quo(f.PerByte, big.NewInt(int64(full)))
	if f.Balance, err = b.cfg.Client.Balance(ctx, b.cfg.Wallet.Address()); err != nil {
		return Funds{}, fmt.Errorf("get balance: %w", err)
	}
	return f, nil
}
