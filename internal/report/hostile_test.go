package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
)

// payloads are texts that would run, style, load or break out if any renderer
// took them for markup.
func payloads() []string {
	heads := []string{"", `">`, `'>`, `</title>`, `</style>`, `</desc></svg>`, `--><!--`, `]]>`, "\x00", "{{", "`"}
	bodies := []string{
		`<script>alert(1)</script>`, `<img src=x onerror=alert(1)>`, `<svg/onload=alert(1)>`, `<iframe src="javascript:alert(1)">`,
		`<a href="javascript:alert(1)">x</a>`, `<style>*{background:url(//x.example)}</style>`, `<meta http-equiv=refresh content=0>`,
		`<base href=//x.example>`, `<form action=//x.example><input>`, `<object data=x>`, `<link rel=stylesheet href=//x.example>`,
	}
	var out []string
	for _, h := range heads {
		for _, b := range bodies {
			out = append(out, h+b)
		}
	}
	return out
}

// poisoned puts one text everywhere a Run takes text.
func poisoned(r Run, s string) Run {
	r.Series = slices.Clone(r.Series)
	r.ID, r.Job, r.Provider, r.Model, r.PriceVersion = batch.RunID(s), s, s, s, s
	r.SpecDigest, r.ManifestDigest, r.SpecFile, r.Reason, r.State = s, s, s, s, batch.RunFailed
	r.Timeline = []Event{{t0, s, s}}
	r.Errors = []ErrorGroup{{batch.Class(s), s, 3, []Example{{s, s}}}}
	r.Plan = []PlanRow{{s, UnitCount, 1, 2}}
	r.Evaluation = &Evaluation{Field: s, Compared: 2, Right: 1, Labels: []LabelCount{{s, 1, 1, 0}}, Confusions: []Confusion{{s, s, 1}}}
	r.Outputs = []Output{{s, s, s, 1, 2, s}}
	r.Next = []Command{{s, s}}
	r.Series[0].ByClass = map[batch.Class]ClassCount{batch.Class(s): {2, 1}}
	return r
}

// tag finds what a browser would take as the start of an element.
var tag = regexp.MustCompile(`<[a-zA-Z/!]`)

func TestNothingHostileBecomesMarkup(t *testing.T) {
	t.Parallel()
	all := payloads()
	if len(all) < 100 {
		t.Fatalf("only %d payloads", len(all))
	}
	clean := partialExample()
	count := func(r Run) int {
		var b bytes.Buffer
		if err := WriteHTML(&b, r); err != nil {
			t.Fatal(err)
		}
		return len(tag.FindAllIndex(b.Bytes(), -1))
	}
	calm := count(poisoned(clean, "calm"))
	for _, p := range all {
		if got := count(poisoned(clean, p)); got != calm {
			t.Errorf("%q: the page has %d tags, with plain text %d", p, got, calm)
		}
		var m, j, x, d bytes.Buffer
		r := poisoned(clean, p)
		flips := []Flip{{p, p, p}}
		for _, err := range []error{WriteMarkdown(&m, r), WriteText(&j, r), WriteJUnit(&x, r, nil),
			WriteDiffText(&d, Diff(r, clean, flips, []Change{{p, p, p}}))} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if tag.MatchString(m.String()) || strings.Contains(m.String(), "](") {
			t.Errorf("%q: Markdown holds markup:\n%s", p, m.String())
		}
		for name, text := range map[string]string{"text": j.String(), "diff": d.String()} {
			if i := strings.IndexFunc(text, func(c rune) bool { return unicode.IsControl(c) && c != '\n' }); i >= 0 {
				t.Errorf("%q: %s holds a control character", p, name)
			}
		}
		wellFormed(t, p, x.Bytes())
	}
}

func wellFormed(t *testing.T, name string, b []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(b))
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("%q: JUnit is not well-formed: %v", name, err)
		}
		if e, ok := tok.(xml.StartElement); ok && !strings.Contains("testsuites testcase failure", e.Name.Local) {
			t.Fatalf("%q: JUnit has an element %s", name, e.Name.Local)
		}
	}
}

func TestPageLoadsAndRunsNothing(t *testing.T) {
	t.Parallel()
	for name, r := range examples() {
		var b bytes.Buffer
		if err := WriteHTML(&b, r); err != nil {
			t.Fatal(err)
		}
		page := b.String()
		for _, bad := range []string{"<script", "src=", "href=", "http:", "https:", "style=", "@import", "url(", "@font-face", " on"} {
			found := strings.Contains(page, bad)
			if bad == " on" {
				found = regexp.MustCompile(`<[^>]* on[a-z]+=`).MatchString(page)
			}
			if found {
				t.Errorf("%s: the page holds %q", name, bad)
			}
		}
		styles := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindAllStringSubmatch(page, -1)
		if len(styles) != 1 {
			t.Fatalf("%s: %d styles", name, len(styles))
		}
		sum := sha256.Sum256([]byte(styles[0][1]))
		if !strings.Contains(ContentPolicy(), base64.StdEncoding.EncodeToString(sum[:])) {
			t.Errorf("%s: the policy does not know the page's style", name)
		}
		for _, must := range []string{"default-src &#39;none&#39;", "prefers-color-scheme", `<meta name="viewport"`} {
			if !strings.Contains(page, must) {
				t.Errorf("%s: the page lacks %q", name, must)
			}
		}
	}
}

func TestChartsSpeak(t *testing.T) {
	t.Parallel()
	for name, r := range examples() {
		for _, c := range Charts(r) {
			svg := string(c.SVG)
			for _, must := range []string{`role="img"`, "<title id=", "<desc id=", "aria-labelledby="} {
				if !strings.Contains(svg, must) {
					t.Errorf("%s/%s lacks %s", name, c.ID, must)
				}
			}
			if len(c.Rows) == 0 || c.Note == "" {
				t.Errorf("%s/%s has no table or no sentence", name, c.ID)
			}
			for _, row := range c.Rows {
				if len(row) != len(c.Head) {
					t.Errorf("%s/%s: a row of %d under %d heads", name, c.ID, len(row), len(c.Head))
				}
			}
			if strings.Contains(svg, `="-`) || strings.Contains(svg, "NaN") {
				t.Errorf("%s/%s draws outside its plot", name, c.ID)
			}
			wellFormedSVG(t, svg)
		}
	}
}

func wellFormedSVG(t *testing.T, s string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(s))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("SVG: %v", err)
		}
	}
}

func TestHugeNumbers(t *testing.T) {
	t.Parallel()
	const big = int64(9e18)
	r := partialExample()
	r.State, r.StoppedBy = batch.RunStoppedBudget, money.DimUSD
	r.Items = Items{Total: 1e18, OK: 4e17, Failed: 1e17, Pending: 5e17}
	r.Tokens = Tokens{big, 1e17, 1e18, 1e17, big}
	r.Cost = Cost{money.PicoUSD(big), 1}
	r.Budget = Budget{Tokens: big, Pico: big, Retries: big, Spent: Amount{big, money.PicoUSD(big), 1}}
	r.Attempts, r.Retries, r.ExtraCalls = big, big, big
	for i := range r.Series {
		r.Series[i].Cost, r.Series[i].Charged, r.Series[i].AtRisk = money.PicoUSD(big), big, money.PicoUSD(big)
		r.Series[i].ByClass = map[batch.Class]ClassCount{batch.ClassCapacity: {big / 100, 1}}
	}
	r.Latency.Add(1 << 62)
	r.EndedAt = r.StartedAt.AddDate(90, 0, 0)
	for _, err := range []error{WriteHTML(io.Discard, r), WriteText(io.Discard, r), WriteMarkdown(io.Discard, r), WriteJSON(io.Discard, r), WriteJUnit(io.Discard, r, nil)} {
		if err != nil {
			t.Error(err)
		}
	}
}

func TestSameRunSameBytes(t *testing.T) {
	t.Parallel()
	var first []byte
	for range 4 {
		var b bytes.Buffer
		r := partialExample()
		for _, err := range []error{WriteHTML(&b, r), WriteText(&b, r), WriteMarkdown(&b, r), WriteJSON(&b, r), WriteJUnit(&b, r, nil), WriteSummary(&b, r)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if first == nil {
			first = b.Bytes()
		}
		if !bytes.Equal(first, b.Bytes()) {
			t.Fatal("two reports of one run differ")
		}
	}
	var back Run
	var once, twice bytes.Buffer
	if err := WriteJSON(&once, partialExample()); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(once.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if err := WriteJSON(&twice, back); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(once.Bytes(), twice.Bytes()) {
		t.Error("the JSON form does not read back into the same run")
	}
}

func FuzzText(f *testing.F) {
	for _, p := range payloads()[:20] {
		f.Add(p, int64(3))
	}
	f.Add("\xff\xfe\u202e long "+strings.Repeat("é", 400), int64(-5))
	clean := stoppedExample()
	f.Fuzz(func(t *testing.T, s string, n int64) {
		r := poisoned(clean, s)
		r.Items.Failed, r.Attempts, r.Cost.Settled, r.EndedAt = n, n, money.PicoUSD(n), t0.Add(time.Duration(n))
		var b bytes.Buffer
		if err := WriteText(&b, r); err != nil {
			t.Fatal(err)
		}
		if lines := strings.Count(b.String(), "\n"); lines > 25 {
			t.Errorf("%d lines", lines)
		}
		if strings.IndexFunc(b.String(), func(c rune) bool { return unicode.IsControl(c) && c != '\n' }) >= 0 || strings.ToValidUTF8(b.String(), "") != b.String() {
			t.Errorf("control characters or bad UTF-8 in %q", b.String())
		}
		for _, err := range []error{WriteHTML(io.Discard, r), WriteMarkdown(io.Discard, r), WriteJUnit(io.Discard, r, nil), WriteJSON(io.Discard, r)} {
			if err != nil {
				t.Error(err)
			}
		}
		if k := Normalise(s); strings.ContainsAny(k, "\n\r") || len(k) > maxMessage+4 {
			t.Errorf("Normalise(%q) = %q", s, k)
		}
	})
}
