package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"iter"

	"github.com/batchwright/batchwright/internal/batch"
)

// MaxJUnitCases is the most failed items that WriteJUnit names; the rest is
// counted in one more case.
const MaxJUnitCases = 1000

// Failure is one failed item.
type Failure struct {
	ID      string
	Class   batch.Class
	Message string
}

type junitSuites struct {
	XMLName xml.Name   `xml:"testsuites"`
	Suite   junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name      string      `xml:"name,attr"`
	Tests     int64       `xml:"tests,attr"`
	Failures  int64       `xml:"failures,attr"`
	Errors    int64       `xml:"errors,attr"`
	Skipped   int64       `xml:"skipped,attr"`
	Time      string      `xml:"time,attr"`
	Timestamp string      `xml:"timestamp,attr,omitempty"`
	Cases     []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Failure *junitFailure `xml:"failure"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
}

// WriteJUnit writes the run as one test suite: a case for the verdict and one
// for each failed item, up to MaxJUnitCases. With failed nil, the examples of
// the error groups stand for them.
func WriteJUnit(w io.Writer, r Run, failed iter.Seq[Failure]) error {
	if failed == nil {
		failed = r.exampleFailures
	}
	job := oneLine(r.Job, 200)
	v := VerdictOf(r)
	verdict := junitCase{Class: job, Name: "run " + oneLine(string(r.ID), 64)}
	if r.State.Ended() && r.State != batch.RunSucceeded {
		verdict.Failure = &junitFailure{v.Sentence, string(r.State)}
	}
	ms := r.elapsed().Milliseconds()
	suite := junitSuite{Name: job, Tests: r.Items.Total + 1, Failures: r.Items.Failed, Skipped: r.Items.Skipped + r.Items.Pending,
		Time: fmt.Sprintf("%d.%03d", ms/1000, ms%1000), Cases: []junitCase{verdict}}
	if verdict.Failure != nil {
		suite.Failures++
	}
	if !r.StartedAt.IsZero() {
		suite.Timestamp = r.StartedAt.UTC().Format("2006-01-02T15:04:05")
	}
	named := int64(0)
	for f := range failed {
		if named == MaxJUnitCases {
			break
		}
		named++
		suite.Cases = append(suite.Cases, junitCase{Class: job, Name: oneLine(f.ID, 200),
			Failure: &junitFailure{oneLine(f.Message, 500), className(f.Class)}})
	}
	if rest := r.Items.Failed - named; rest > 0 {
		suite.Cases = append(suite.Cases, junitCase{Class: job, Name: fmt.Sprintf("and %s more failed items", Count(rest)),
			Failure: &junitFailure{"not named here; see failed.jsonl", "more"}})
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(junitSuites{Suite: suite}); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func (r Run) exampleFailures(yield func(Failure) bool) {
	for _, g := range r.Errors {
		for _, e := range g.Examples {
			if !yield(Failure{e.ID, g.Class, e.Message}) {
				return
			}
		}
	}
}
