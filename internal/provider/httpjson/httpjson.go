// Package httpjson calls any HTTP API that takes JSON and answers JSON: the
// request is a template, the answer is read by JSON pointers.
//
//	options:
//	  path: /generate
//	  request: {inputs: "{{ prompt }}", parameters: {max_new_tokens: "{{ max_output_tokens }}", lang: "{{ item.lang }}"}}
//	  response: {text: /0/generated_text, output_tokens: /0/details/tokens, finish: /0/details/finish_reason, error: /error}
package httpjson

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/provider"
)

// Factory registers the template adapter.
func Factory() provider.Factory {
	return provider.Factory{Name: "http", Doc: "any JSON API, by a request template and response pointers", New: open}
}

type adapter struct {
	end     *provider.Endpoint
	request template
	read    pointers
	method  string
	path    string
	traits  provider.Traits
}

// methods an attempt may use. A GET would be repeated by the transport itself,
// and then one attempt could be two calls.
var methods = []string{"POST", "PUT", "PATCH"}

func open(c provider.Config) (provider.Provider, error) {
	if c.BaseURL == "" {
		return nil, bad("task.base_url", "the http provider needs the API's address", "set task.base_url, like http://localhost:8080")
	}
	a := &adapter{method: "POST"}
	header, prefix := "Authorization", "Bearer "
	var (
		request  json.RawMessage
		response rawPointers
	)
	err := provider.ReadOptions(c, map[string]any{"path": &a.path, "method": &a.method, "key_header": &header, "key_prefix": &prefix,
		"request": &request, "response": &response})
	if err != nil {
		return nil, err
	}
	if !slices.Contains(methods, a.method) {
		return nil, bad("task.options.method", fmt.Sprintf("method %q is not supported", a.method), "use POST, PUT or PATCH")
	}
	if err := checkPath(a.path); err != nil {
		return nil, err
	}
	if a.request, err = compile(request); err != nil {
		return nil, err
	}
	if a.read, err = response.compile(); err != nil {
		return nil, err
	}
	if a.end, err = provider.NewEndpoint(c, provider.EndpointOptions{KeyHeader: header, KeyPrefix: prefix}); err != nil {
		return nil, err
	}
	a.traits = provider.Traits{Name: c.Provider, Host: a.end.Host()}
	return a, nil
}

func checkPath(p string) error {
	if p == "" {
		return nil
	}
	if u, err := url.Parse(p); err != nil || u.Scheme != "" || u.Host != "" || u.Fragment != "" || !strings.HasPrefix(p, "/") {
		return bad("task.options.path", "the path does not begin with a slash, or is a whole address", "give the part after task.base_url, like /v1/generate")
	}
	return nil
}

func bad(ref, msg, hint string) error {
	return &batch.Error{Kind: batch.Invalid, Op: "provider", Ref: ref, Msg: msg, Hint: hint}
}

func (a *adapter) Traits() provider.Traits { return a.traits }

func (a *adapter) Do(ctx context.Context, c provider.Call, id string) provider.Result {
	return a.end.Exchange(ctx, c, id, func(ans provider.Answer) provider.Result { return a.Decode(c.Path, ans) })
}

func (a *adapter) Encode(r provider.Request) (provider.Call, error) {
	switch {
	case len(r.Body) > 0:
		return provider.Call{}, bad("", "ready request bodies are in OpenAI's form", "use provider openai_compatible, or give items and task.prompt")
	case r.MaxOutputTokens <= 0:
		return provider.Call{}, bad("task.max_output_tokens", "a call without a limit of output tokens has no bound",
			"set task.max_output_tokens above 0")
	case len(r.Params) > 0:
		return provider.Call{}, bad("task.params", "the http provider sends its template only", "write parameters into task.options.request")
	}
	body, err := a.request.render(r)
	if err != nil {
		return provider.Call{}, err
	}
	media := 0
	for _, m := range r.Messages {
		media += provider.Media(m.Content)
	}
	return provider.Call{Method: a.method, Path: a.path, Body: body, OutputBound: r.MaxOutputTokens,
		InputBound: provider.InputBound(body, r.Model, media, 0)}, nil
}
