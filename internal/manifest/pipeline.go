package manifest

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/batchwright/batchwright/internal/format"
)

// job is one block on its way: read in order, made into draft items by any
// worker, taken up in order again.
type job struct {
	input *inputFile
	block format.Block
	items []draftItem
	arena []byte
	done  chan struct{}
	err   error
	// ended says that the input has no more blocks; the job has no rows then.
	ended bool
	// large says that the job holds the pipeline's one token for large blocks.
	large bool
}

// pipeline reads all inputs on one goroutine, and makes their rows into items
// on several. It holds a fixed number of blocks, whatever the size of the input.
type pipeline struct {
	cfg     *Config
	inputs  []*inputFile
	workers int
	free    chan *job
	work    chan *job
	order   chan *job
	large   chan struct{} // so that long rows cannot fill every slot
}

// errEnough ends a pipeline whose consumer needs no more rows.
var errEnough = errors.New("enough")

// run calls take for every job in order. It returns when all goroutines ended.
func (p *pipeline) run(ctx context.Context, take func(*job) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	slots := 2*p.workers + 2
	p.free, p.work, p.order = make(chan *job, slots), make(chan *job, slots), make(chan *job, slots)
	p.large = make(chan struct{}, 1)
	for range slots {
		p.free <- &job{}
	}
	var wg sync.WaitGroup
	wg.Go(func() { p.read(ctx) })
	for range p.workers {
		wg.Go(p.decode)
	}
	var failed error
	for j := range p.order {
		<-j.done
		if failed == nil {
			if failed = j.err; failed == nil {
				failed = take(j)
			}
			if failed != nil {
				cancel()
			}
		}
		if j.large {
			*j = job{}
			<-p.large
		}
		p.free <- j
	}
	wg.Wait()
	switch {
	case failed == errEnough:
		return nil
	case failed != nil:
		return failed
	}
	return ctx.Err()
}

// read feeds the blocks of all inputs. It closes both channels, so that workers
// and consumer end after what was fed.
func (p *pipeline) read(ctx context.Context) {
	defer close(p.order)
	defer close(p.work)
	for _, in := range p.inputs {
		if !p.readOne(ctx, in) {
			break
		}
	}
}

func (p *pipeline) readOne(ctx context.Context, in *inputFile) bool {
	err := in.open(ctx, p.cfg)
	defer in.close() //nolint:errcheck // read only, and its bytes were hashed
	for {
		var j *job
		select {
		case <-ctx.Done():
			return false
		case j = <-p.free:
		}
		*j = job{input: in, block: j.block, items: j.items[:0], arena: j.arena[:0], done: make(chan struct{})}
		j.block.OnLarge(func() {
			select {
			case <-ctx.Done():
			case p.large <- struct{}{}:
				j.large = true
			}
		})
		if err == nil {
			err = in.reader.Next(&j.block)
		}
		if err == io.EOF {
			err, j.ended = in.finish(ctx), true
		}
		j.err = err
		last := j.ended || err != nil
		if last {
			close(j.done)
		} else {
			p.work <- j
		}
		p.order <- j
		if last {
			return err == nil
		}
	}
}

func (p *pipeline) decode() {
	var d format.Decoder
	m := maker{cfg: p.cfg}
	for j := range p.work {
		if cap(j.arena) > 8<<20 {
			j.arena = nil // one large row does not keep its memory
		}
		copyBody := !j.input.inPlace
		j.err = j.input.reader.Decode(&j.block, &d, func(row *format.Row) error {
			var item draftItem
			item, j.arena = m.item(row, j.arena, copyBody)
			j.items = append(j.items, item)
			return nil
		})
		close(j.done)
	}
}
