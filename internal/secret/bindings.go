package secret

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// vendors says which hosts the keys of well-known names are for. Whoever writes
// a spec names the variable and the address; the name alone must not be enough
// to have its value sent anywhere.
var vendors = []struct {
	env   []string
	hosts []string
}{
	{[]string{"OPENAI_API_KEY", "OPENAI_KEY", "OPENAI_ADMIN_KEY"}, []string{"api.openai.com", "*.api.openai.com"}},
	{[]string{"ANTHROPIC_API_KEY", "CLAUDE_API_KEY", "ANTHROPIC_AUTH_TOKEN"}, []string{"api.anthropic.com"}},
	{[]string{"GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GENERATIVE_AI_API_KEY"}, []string{"generativelanguage.googleapis.com", "aiplatform.googleapis.com", "*.aiplatform.googleapis.com"}},
	{[]string{"AZURE_OPENAI_API_KEY", "AZURE_OPENAI_KEY", "AZURE_API_KEY"}, []string{"*.openai.azure.com", "*.cognitiveservices.azure.com", "*.services.ai.azure.com"}},
	{[]string{"GROQ_API_KEY"}, []string{"api.groq.com"}},
	{[]string{"MISTRAL_API_KEY"}, []string{"api.mistral.ai"}},
	{[]string{"OPENROUTER_API_KEY"}, []string{"openrouter.ai"}},
	{[]string{"TOGETHER_API_KEY", "TOGETHERAI_API_KEY"}, []string{"api.together.xyz", "api.together.ai"}},
	{[]string{"FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY"}, []string{"api.fireworks.ai"}},
	{[]string{"DEEPSEEK_API_KEY"}, []string{"api.deepseek.com"}},
	{[]string{"XAI_API_KEY", "GROK_API_KEY"}, []string{"api.x.ai", "*.api.x.ai"}},
	{[]string{"CEREBRAS_API_KEY"}, []string{"api.cerebras.ai"}},
	{[]string{"SAMBANOVA_API_KEY"}, []string{"api.sambanova.ai"}},
	{[]string{"PERPLEXITY_API_KEY", "PPLX_API_KEY"}, []string{"api.perplexity.ai"}},
	{[]string{"COHERE_API_KEY", "CO_API_KEY"}, []string{"api.cohere.com", "api.cohere.ai"}},
	{[]string{"NVIDIA_API_KEY", "NVIDIA_NIM_API_KEY"}, []string{"integrate.api.nvidia.com"}},
	{[]string{"HF_TOKEN", "HUGGINGFACE_API_KEY", "HUGGING_FACE_HUB_TOKEN"}, []string{"router.huggingface.co", "api-inference.huggingface.co", "*.endpoints.huggingface.cloud"}},
	{[]string{"DASHSCOPE_API_KEY"}, []string{"dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com"}},
	{[]string{"MOONSHOT_API_KEY"}, []string{"api.moonshot.ai", "api.moonshot.cn"}},
	{[]string{"DATABRICKS_TOKEN"}, []string{"*.cloud.databricks.com", "*.azuredatabricks.net", "*.gcp.databricks.com"}},
}

// foreign are names of credentials that no model's API takes. A name that ends
// with * stands for all that begin so.
var foreign = []string{"AWS_*", "AZURE_CLIENT_*", "AZURE_STORAGE_*", "ARM_*", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CREDENTIALS", "CLOUDFLARE_*",
	"DIGITALOCEAN_*", "GITHUB_*", "GH_*", "GITLAB_*", "CI_*", "BITBUCKET_*", "CIRCLE_*", "BUILDKITE_*", "ACTIONS_*", "NPM_*", "NODE_AUTH_TOKEN", "PYPI_*",
	"TWINE_*", "CARGO_*", "DOCKER_*", "SLACK_*", "STRIPE_*", "TWILIO_*", "SENDGRID_*", "SENTRY_*", "DD_*", "DATADOG_*", "VAULT_*", "KUBE*", "DATABASE_URL",
	"REDIS_URL", "PG*", "POSTGRES_*", "MYSQL_*", "MONGO*", "SSH_*", "GPG_*", "SUDO_*", "WANDB_*", "SNOWFLAKE_*", "BATCHWRIGHT_*"}

// Bindings say which hosts each key may be sent to. The zero value holds what
// is known of keys by their names.
type Bindings struct{ own map[string]Hosts }

// Rule is one line of a user's own bindings.
type Rule struct {
	Ref   string // env:NAME or file:/absolute/path
	Hosts []string
}

// NewBindings adds a user's rules to what is known. An error names the rule.
func NewBindings(rules []Rule) (Bindings, error) {
	b := Bindings{own: map[string]Hosts{}}
	for _, r := range rules {
		kind, name, _ := strings.Cut(r.Ref, ":")
		if kind != "env" && kind != "file" || name == "" || kind == "file" && !strings.HasPrefix(name, "/") {
			return b, fmt.Errorf("%q names no key; write env:NAME or file:/absolute/path", r.Ref)
		}
		if len(r.Hosts) == 0 {
			return b, fmt.Errorf("%s has no hosts", r.Ref)
		}
		var h Hosts
		for _, text := range r.Hosts {
			x, err := ParseHost(text)
			if err != nil {
				return b, fmt.Errorf("%s: %w", r.Ref, err)
			}
			h.list = append(h.list, x)
		}
		b.own[r.Ref] = h
	}
	return b, nil
}

// Of returns the hosts that a key may be sent to; free means any. ref is
// env:NAME or file:PATH with an absolute path. near says that a file lies in
// the folder of the spec that names it: what a spec brings along it may send.
func (b Bindings) Of(ref string, near bool) (h Hosts, free bool) {
	own, listed := b.own[ref]
	h.list = slices.Clone(own.list)
	kind, name, _ := strings.Cut(ref, ":")
	if kind == "file" {
		if near && !listed {
			return Hosts{}, true
		}
		if !listed {
			for _, v := range vendors {
				h.list = append(h.list, hosts(v.hosts...).list...)
			}
		}
		return h, false
	}
	for _, v := range vendors {
		if slices.Contains(v.env, strings.ToUpper(name)) {
			h.list = append(h.list, hosts(v.hosts...).list...)
			return h, false
		}
	}
	return h, !listed && !isForeign(name)
}

func isForeign(name string) bool {
	name = strings.ToUpper(name)
	return slices.ContainsFunc(foreign, func(f string) bool {
		begin, all := strings.CutSuffix(f, "*")
		return name == f || all && strings.HasPrefix(name, begin)
	})
}

// Telling reports whether the name of a variable says that its value is secret.
func Telling(name string) bool {
	name = strings.ToUpper(name)
	for _, end := range [...]string{"KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "CREDENTIALS", "_PAT", "_AUTH"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}

// Refs lists the keys that a user's rules name, in order.
func (b Bindings) Refs() []string { return slices.Sorted(maps.Keys(b.own)) }
