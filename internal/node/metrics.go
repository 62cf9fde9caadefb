package node

func peerMetrics() []metric {
	return []metric{
		{name: "aopeer_up", kind: "gauge", labels: []string{"version", "network", "role"}, help: "1, once for each role; role is empty for a peer without one.", read: func(s *snapshot) []sample {
			roles := s.roles
			if len(roles) == 0 {
				roles = []string{""}
			}
			var out []sample
			for _, r := range roles {
				out = append(out, sample{1, []string{s.version, s.network, r}})
			}
			return out
		}},
		{name: "aopeer_ready", kind: "gauge", help: "1 while /readyz says so, 0 before, after and while draining.", read: func(s *snapshot) []sample {
			return one(truth(s.ready))
		}},
		{name: "aopeer_draining", kind: "gauge", help: "1 once the peer was told to stop.", read: func(s *snapshot) []sample {
			return one(truth(s.draining))
		}},
		{name: "aopeer_peers", kind: "gauge", help: "Connected peers of the network.", read: func(s *snapshot) []sample {
			return one(s.p2p.Peers)
		}},
		{name: "aopeer_units_known", kind: "gauge", labels: []string{"role"}, help: "Units of the mesh that are announced now.", read: func(s *snapshot) []sample {
			var out []sample
			for _, r := range unitRoles() {
				out = append(out, sample{float64(s.known[r]), []string{r}})
			}
			return out
		}},
		{name: "aopeer_conns", kind: "gauge", labels: []string{"direction"}, help: "Connections.", read: func(s *snapshot) []sample {
			return inOut(s.p2p.ConnsIn, s.p2p.ConnsOut)
		}},
		{name: "aopeer_streams", kind: "gauge", labels: []string{"direction"}, help: "Open streams.", read: func(s *snapshot) []sample {
			return inOut(s.p2p.StreamsIn, s.p2p.StreamsOut)
		}},
		{name: "aopeer_stream_memory_bytes", kind: "gauge", help: "Memory that the resource manager counts for peers.", read: func(s *snapshot) []sample {
			return one(s.p2p.Memory)
		}},
		{name: "aopeer_turned_away_total", kind: "counter", labels: []string{"bound"}, help: "What was refused to other peers because of [limits]: connections, streams, calls a second (rate), memory, gossip, topics; flood is peers put off for a minute.", read: func(s *snapshot) []sample {
			r := s.p2p.Refused
			return []sample{
				{float64(r.Conns), []string{"connections"}},
				{float64(r.Streams), []string{"streams"}},
				{float64(r.Rate), []string{"rate"}},
				{float64(r.Memory), []string{"memory"}},
				{float64(r.Gossip), []string{"gossip"}},
				{float64(r.Topics), []string{"topics"}},
				{float64(r.Flood), []string{"flood"}},
			}
		}},
	}
}

func storeMetrics() []metric {
	return []metric{
		{name: "aopeer_store_bytes", kind: "gauge", labels: []string{"part"}, help: "The store on disk: database (with its journal) and files, journal alone, and the space that is free beside it.", read: func(s *snapshot) []sample {
			if s.store == nil {
				return nil
			}
			return []sample{
				{float64(s.store.Disk), []string{"all"}},
				{float64(s.store.Journal), []string{"journal"}},
				{float64(s.free), []string{"free"}},
			}
		}},
		{name: "aopeer_store_syncs_total", kind: "counter", help: "Synced writes of the store's journal; many commits share one.", read: func(s *snapshot) []sample {
			if s.store == nil {
				return nil
			}
			return one(s.store.Syncs)
		}},
		{name: "aopeer_store_sync_seconds_total", kind: "counter", help: "Time that those took; divide by their number.", read: func(s *snapshot) []sample {
			if s.store == nil {
				return nil
			}
			return one(s.store.SyncTime.Seconds())
		}},
	}
}

func scheduleMetrics() []metric {
	return []metric{
		{name: "aopeer_schedule_slots_total", kind: "counter", help: "Slots given since the start; a repeated call gets its old one and is not counted.", read: func(s *snapshot) []sample {
			return s.ofScheduler(func() []sample { return one(s.scheduler.Scheduled) })
		}},
		{name: "aopeer_schedule_settled_total", kind: "counter", help: "Slots handed to the bundler since the start.", read: func(s *snapshot) []sample {
			return s.ofScheduler(func() []sample { return one(s.scheduler.Settled) })
		}},
		{name: "aopeer_schedule_epoch", kind: "gauge", help: "Starts of a scheduler on this store.", read: func(s *snapshot) []sample {
			return s.ofScheduler(func() []sample { return one(s.scheduler.Epoch) })
		}},
		{name: "aopeer_schedule_processes", kind: "gauge", help: "Logs that the scheduler keeps.", read: func(s *snapshot) []sample {
			return s.ofScheduler(func() []sample { return one(s.scheduler.Processes) })
		}},
		{name: "aopeer_schedule_calls", kind: "gauge", help: "Schedule calls under way.", read: func(s *snapshot) []sample {
			return s.ofScheduler(func() []sample { return one(s.scheduler.Scheduling) })
		}},
		{name: "aopeer_schedule_followers", kind: "gauge", help: "Readers that follow a log.", read: func(s *snapshot) []sample {
			return s.ofScheduler(func() []sample { return one(s.scheduler.Followers) })
		}},
		{name: "aopeer_schedule_unsettled", kind: "gauge", help: "Slots that are not with the bundler yet.", read: func(s *snapshot) []sample {
			return s.ofScheduler(func() []sample { return one(s.scheduler.Unsettled) })
		}},
		{name: "aopeer_block_height", kind: "gauge", help: "Newest block that the scheduler knows.", read: func(s *snapshot) []sample {
			return s.ofScheduler(func() []sample { return one(s.scheduler.Height) })
		}},
		{name: "aopeer_block_height_age_seconds", kind: "gauge", help: "Since the archive last said so; absent before it did.", read: func(s *snapshot) []sample {
			return s.ofScheduler(func() []sample {
				if s.scheduler.HeightAt.IsZero() {
					return nil
				}
				return one(s.at.Sub(s.scheduler.HeightAt).Seconds())
			})
		}},
	}
}

func computeMetrics() []metric {
	return []metric{
		{name: "aopeer_compute_evaluated_total", kind: "counter", help: "Slots evaluated.", read: func(s *snapshot) []sample {
			return s.ofComputer(func() []sample { return one(s.computer.Evaluated) })
		}},
		{name: "aopeer_compute_seconds_total", kind: "counter", help: "Time that evaluations took, all together.", read: func(s *snapshot) []sample {
			return s.ofComputer(func() []sample { return one(s.computer.Seconds) })
		}},
		{name: "aopeer_compute_duplicates_total", kind: "counter", help: "Of them, not evaluated because their message took effect before.", read: func(s *snapshot) []sample {
			return s.ofComputer(func() []sample { return one(s.computer.Duplicates) })
		}},
		{name: "aopeer_compute_cache_hits_total", kind: "counter", help: "Answers served from the store, without evaluation.", read: func(s *snapshot) []sample {
			return s.ofComputer(func() []sample { return one(s.computer.Stored) })
		}},
		{name: "aopeer_compute_checkpoints_total", kind: "counter", help: "Checkpoints written.", read: func(s *snapshot) []sample {
			return s.ofComputer(func() []sample { return one(s.computer.Checkpoints) })
		}},
		{name: "aopeer_compute_evictions_total", kind: "counter", help: "Idle processes that were packed to make room.", read: func(s *snapshot) []sample {
			return s.ofComputer(func() []sample { return one(s.computer.Evictions) })
		}},
		{name: "aopeer_compute_returns_total", kind: "counter", help: "Packed processes that became hot again.", read: func(s *snapshot) []sample {
			return s.ofComputer(func() []sample { return one(s.computer.Returns) })
		}},
		{name: "aopeer_compute_memory_bytes", kind: "gauge", labels: []string{"state"}, help: "Memory of hot processes, set aside or taken, and of packed ones.", read: func(s *snapshot) []sample {
			return s.ofComputer(func() []sample {
				return []sample{{float64(s.computer.Memory), []string{"hot"}}, {float64(s.computer.PackedMem), []string{"packed"}}}
			})
		}},
		{name: "aopeer_compute_bad_logs_total", kind: "counter", help: "Logs found broken; the schedulers at fault are in the unit's log.", read: func(s *snapshot) []sample {
			return s.ofComputer(func() []sample { return one(s.computer.BadLogs) })
		}},
		{name: "aopeer_compute_contradictions_total", kind: "counter", help: "Second claims that the unit refused to sign. Any is worth an alarm.", read: func(s *snapshot) []sample {
			return s.ofComputer(func() []sample { return one(s.computer.Contradictions) })
		}},
		{name: "aopeer_compute_processes", kind: "gauge", labels: []string{"state"}, help: "Processes in the machine (hot), idle ones kept packed (packed), and those that are worked on (working).", read: func(s *snapshot) []sample {
			return s.ofComputer(func() []sample {
				return []sample{
					{float64(s.computer.Hot), []string{"hot"}},
					{float64(s.computer.Packed), []string{"packed"}},
					{float64(s.computer.Working), []string{"working"}},
				}
			})
		}},
		{name: "aopeer_compute_waiting", kind: "gauge", help: "Callers that wait for an evaluation.", read: func(s *snapshot) []sample {
			return s.ofComputer(func() []sample { return one(s.computer.Waiting) })
		}},
		{name: "aopeer_compute_unsettled", kind: "gauge", help: "Processes with claims that are not with the bundler yet.", read: func(s *snapshot) []sample {
			return s.ofComputer(func() []sample { return one(s.computer.Unsettled) })
		}},
	}
}

func pushMetrics() []metric {
	return []metric{
		{name: "aopeer_push_tasks", kind: "gauge", labels: []string{"state"}, help: "Open pushes: all (open), those whose next step waits for a worker (ready) or is being taken (working).", read: func(s *snapshot) []sample {
			return s.ofMessenger(func() []sample {
				return []sample{
					{float64(s.messenger.Open), []string{"open"}},
					{float64(s.messenger.Ready), []string{"ready"}},
					{float64(s.messenger.Working), []string{"working"}},
				}
			})
		}},
		{name: "aopeer_push_retries_total", kind: "counter", help: "Steps set aside after a failure that may pass.", read: func(s *snapshot) []sample {
			return s.ofMessenger(func() []sample { return one(s.messenger.Retries) })
		}},
		{name: "aopeer_push_dropped_total", kind: "counter", help: "Pushes given up because they cannot succeed.", read: func(s *snapshot) []sample {
			return s.ofMessenger(func() []sample { return one(s.messenger.Dropped) })
		}},
	}
}

func settleMetrics() []metric {
	return []metric{
		{name: "aopeer_settle_items", kind: "gauge", help: "Items with the bundler that are in no bundle yet.", read: func(s *snapshot) []sample {
			return s.ofBundler(func() []sample { return one(s.backlog.Items) })
		}},
		{name: "aopeer_settle_bytes", kind: "gauge", help: "Bytes of those.", read: func(s *snapshot) []sample {
			return s.ofBundler(func() []sample { return one(s.backlog.Bytes) })
		}},
		{name: "aopeer_settle_posted", kind: "gauge", help: "Transactions posted and not confirmed to the configured depth.", read: func(s *snapshot) []sample {
			return s.ofBundler(func() []sample { return one(s.backlog.InFlight) })
		}},
		{name: "aopeer_settle_confirmed_total", kind: "counter", help: "Transactions confirmed to the configured depth since the start.", read: func(s *snapshot) []sample {
			return s.ofBundler(func() []sample { return one(s.settled.Confirmed) })
		}},
		{name: "aopeer_settle_reposts_total", kind: "counter", help: "Transactions, or their data, posted again because the network had lost them.", read: func(s *snapshot) []sample {
			return s.ofBundler(func() []sample { return one(s.settled.Reposts) })
		}},
		{name: "aopeer_settle_oldest_seconds", kind: "gauge", help: "Age of what has waited longest for settlement; 0 when nothing waits.", read: func(s *snapshot) []sample {
			return s.ofBundler(func() []sample {
				if s.backlog.Oldest == nil {
					return one(0)
				}
				return one(s.backlog.Oldest.Age.Seconds())
			})
		}},
		{name: "aopeer_wallet_winston", kind: "gauge", help: "Balance of the wallet that pays for settlement; absent until a gateway has said it.", read: func(s *snapshot) []sample {
			if s.purse == nil {
				return nil
			}
			return one(s.purse.balance())
		}},
		{name: "aopeer_wallet_runway_bytes", kind: "gauge", help: "Bytes that the balance settles at the gateway's price for 1 MiB.", read: func(s *snapshot) []sample {
			if s.purse == nil {
				return nil
			}
			return one(s.purse.Bytes)
		}},
		{name: "aopeer_wallet_runway_days", kind: "gauge", help: "Days that the balance lasts at the scheduler's rate of the last hour, what is reserved left out; absent while there is no rate.", read: func(s *snapshot) []sample {
			return s.ofScheduler(func() []sample {
				if r := s.scheduler.Runway; r != nil && r.Days >= 0 {
					return one(r.Days)
				}
				return nil
			})
		}},
		{name: "aopeer_gateway_failures_total", kind: "counter", labels: []string{"gateway"}, help: "Requests that a gateway did not answer, or answered with something damaged.", read: func(s *snapshot) []sample {
			var out []sample
			for _, g := range s.gateways {
				out = append(out, sample{float64(g.Failures), []string{g.URL}})
			}
			return out
		}},
		{name: "aopeer_gateway_held", kind: "gauge", labels: []string{"gateway"}, help: "1 while a gateway that failed is asked after the others.", read: func(s *snapshot) []sample {
			var out []sample
			for _, g := range s.gateways {
				out = append(out, sample{truth(g.Held), []string{g.URL}})
			}
			return out
		}},
	}
}
