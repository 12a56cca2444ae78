package cli

import (
	"time"

	"github.com/batchwright/batchwright/internal/app"
	"github.com/batchwright/batchwright/internal/money"
)

// frame is one look at a run, with what only two looks can tell.
type frame struct {
	at time.Time
	app.Status
	perSec    float64 // items that got their outcome a second, of late
	tokPerMin float64
	eta       time.Duration // to the last item; 0 when not known
	projected money.PicoUSD // at the end, by the mean so far; 0 when not known
}

func (f frame) done() int64 { return f.Items.OK + f.Items.Failed + f.Items.Skipped }

// meter keeps looks of the last half minute, so that a rate is of late and yet
// steady.
type meter struct {
	looks []look
}

type look struct {
	at           time.Time
	done, tokens int64
}

const meterSpan = 30 * time.Second

// frame adds a look. What a resumed run had done before this process began is
// not counted as speed.
func (m *meter) frame(at time.Time, s app.Status) frame {
	f := frame{at: at, Status: s}
	m.looks = append(m.looks, look{at, f.done(), s.Tokens.Total})
	for len(m.looks) > 2 && at.Sub(m.looks[1].at) >= meterSpan {
		m.looks = m.looks[1:]
	}
	first := m.looks[0]
	if sec := at.Sub(first.at).Seconds(); sec >= 0.2 {
		f.perSec = float64(max(f.done()-first.done, 0)) / sec
		f.tokPerMin = float64(max(s.Tokens.Total-first.tokens, 0)) / sec * 60
	}
	if f.perSec > 0 && s.Items.Pending > 0 {
		f.eta = time.Duration(float64(s.Items.Pending) / f.perSec * float64(time.Second)).Round(time.Second)
	}
	if n := f.done(); n > 0 && s.Cost.Known {
		f.projected = money.PicoUSD(float64(s.Cost.Pico) / float64(n) * float64(s.Items.Total))
	}
	return f
}
