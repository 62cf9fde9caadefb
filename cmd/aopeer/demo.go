package main

import (
	"context"
	"errors"

	"github.com/urfave/cli/v3"

	"github.com/aopeer/aopeer/internal/node"
)

func demo(ctx context.Context, c *cli.Command, h node.Home, d *node.Devnet) error { return errors.New("x") }
