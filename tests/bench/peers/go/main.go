// The work of core_bench.cc in Go: prints one JSON object of nanoseconds (or bytes) by name.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

func must(ok bool) {
	if !ok {
		panic("wrong result")
	}
}

// perItem gives the nanoseconds of one of `items`, over at least half a second of runs.
func perItem(items int, run func()) float64 {
	run()
	rounds, start := 0, time.Now()
	for time.Since(start) < 500*time.Millisecond {
		run()
		rounds++
	}
	return float64(time.Since(start).Nanoseconds()) / float64(rounds) / float64(items)
}

func squares(results []int64) {
	var group errgroup.Group
	for i := range results {
		group.Go(func() error {
			results[i] = int64(i) * int64(i)
			return nil
		})
	}
	must(group.Wait() == nil)
}

func spawnAndJoin(workers int) float64 {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(workers))
	results := make([]int64, 100_000)
	return perItem(len(results), func() { squares(results) })
}

func groupOfTen() float64 {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	results := make([]int64, 10)
	return perItem(10_000, func() {
		for range 10_000 {
			squares(results)
		}
	})
}

const rounds = 100_000

func loop(run func()) float64 {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	return perItem(rounds, func() {
		for range rounds {
			run()
		}
	})
}

func pingPong() float64 {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	return perItem(rounds, func() {
		ping, pong := make(chan int64), make(chan int64)
		go func() {
			for ball := range ping {
				pong <- ball + 1
			}
		}()
		for i := range int64(rounds) {
			ping <- i
			must(<-pong == i+1)
		}
		close(ping)
	})
}

func buffered() float64 {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	return perItem(rounds, func() {
		numbers, sum := make(chan int64, 256), make(chan int64)
		go func() {
			total := int64(0)
			for number := range numbers {
				total += number
			}
			sum <- total
		}()
		for i := range int64(rounds) {
			numbers <- i
		}
		close(numbers)
		must(<-sum == int64(rounds)*(rounds-1)/2)
	})
}

// park calls `parked` when that many goroutines wait, and gives the time from their cancellation
// until all have ended.
func park(count int, parked func()) time.Duration {
	ctx, cancel := context.WithCancel(context.Background())
	var waiting atomic.Int64
	var all sync.WaitGroup
	for range count {
		all.Add(1)
		go func() {
			defer all.Done()
			waiting.Add(1)
			<-ctx.Done()
		}()
	}
	for waiting.Load() < int64(count) {
		runtime.Gosched()
	}
	parked()
	start := time.Now()
	cancel()
	all.Wait()
	return time.Since(start)
}

func resident() int64 {
	statm, err := os.ReadFile("/proc/self/statm")
	must(err == nil)
	pages, err := strconv.ParseInt(strings.Fields(string(statm))[1], 10, 64)
	must(err == nil)
	return pages * int64(os.Getpagesize())
}

func dump(debug int) float64 {
	var took time.Duration
	park(100_000, func() {
		start := time.Now()
		must(pprof.Lookup("goroutine").WriteTo(io.Discard, debug) == nil)
		took = time.Since(start)
	})
	return float64(took.Nanoseconds())
}

func main() {
	background := context.Background()
	two := semaphore.NewWeighted(2)
	before := resident()
	var grown int64
	park(1_000_000, func() { grown = resident() - before })
	runtime.GC()
	figures := map[string]float64{
		"spawn_1":      spawnAndJoin(1),
		"spawn_2":      spawnAndJoin(2),
		"group_of_ten": groupOfTen(),
		"yield":        loop(runtime.Gosched),
		"semaphore": loop(func() {
			must(two.Acquire(background, 1) == nil)
			two.Release(1)
		}),
		"cancel": loop(func() {
			_, cancel := context.WithCancel(background)
			cancel()
		}),
		"timeout": loop(func() {
			_, cancel := context.WithTimeout(background, time.Hour)
			cancel()
		}),
		"timer":         loop(func() { must(time.AfterFunc(time.Hour, func() {}).Stop()) }),
		"ping_pong":     pingPong(),
		"buffered":      buffered(),
		"cancel_parked": float64(park(100_000, func() {}).Nanoseconds()) / 100_000,
		"parked_bytes":  float64(grown) / 1_000_000,
		"dump_counts":   dump(1),
		"dump_text":     dump(2),
	}
	out, err := json.Marshal(map[string]any{"version": runtime.Version(), "figures": figures})
	must(err == nil)
	fmt.Println(string(out))
}
