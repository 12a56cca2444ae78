package spec

import (
	"io"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
)

// The part of SARIF 2.1.0 that is written.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool       sarifTool     `json:"tool"`
		ColumnKind string        `json:"columnKind"`
		Results    []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		InformationURI string      `json:"informationUri"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	sarifResult struct {
		RuleID    string          `json:"ruleId"`
		RuleIndex int             `json:"ruleIndex"`
		Level     string          `json:"level"`
		Message   sarifText       `json:"message"`
		Locations []sarifLocation `json:"locations"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifLocation struct {
		Physical sarifPhysical `json:"physicalLocation"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   sarifRegion   `json:"region"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn"`
	}
)

// WriteSARIF writes the findings as a SARIF 2.1.0 log for code scanning tools.
func (ds Diagnostics) WriteSARIF(w io.Writer) error {
	codes := Codes()
	run := sarifRun{
		Tool:       sarifTool{sarifDriver{Name: "batchwright", InformationURI: "https://github.com/batchwright/batchwright"}},
		ColumnKind: "unicodeCodePoints", Results: []sarifResult{},
	}
	for _, c := range codes {
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{string(c), c.Name()})
	}
	for _, d := range ds {
		msg := d.Message + "."
		if d.Hint != "" {
			msg += " " + strings.ToUpper(d.Hint[:1]) + d.Hint[1:] + "."
		}
		at := sarifPhysical{sarifArtifact{(&url.URL{Path: filepath.ToSlash(d.File)}).String()}, sarifRegion{d.Line, d.Col}}
		run.Results = append(run.Results, sarifResult{
			RuleID: string(d.Code), RuleIndex: slices.Index(codes, d.Code), Level: string(d.Severity),
			Message: sarifText{msg}, Locations: []sarifLocation{{at}},
		})
	}
	return encode(w, sarifLog{"https://json.schemastore.org/sarif-2.1.0.json", "2.1.0", []sarifRun{run}})
}
