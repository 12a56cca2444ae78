package cloud_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/blob"
	"github.com/batchwright/batchwright/internal/blob/all"
	"github.com/batchwright/batchwright/internal/blob/blobtest"
)

// server starts an S3 server in this process and returns it with one bucket.
func server(t *testing.T) *httptest.Server {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "testsecret")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	backend := s3mem.New()
	if err := backend.CreateBucket("b"); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(gofakes3.New(backend).Server())
	t.Cleanup(s.Close)
	return s
}

func open(t *testing.T, s *httptest.Server, bucket string) blob.Bucket {
	t.Helper()
	b, _, err := all.Registry().Open(t.Context(), fmt.Sprintf("s3://%s/?endpoint=%s&use_path_style=true", bucket, url.QueryEscape(s.URL)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestS3KeepsTheContract(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Bucket { return open(t, server(t), "b") })
}

// TestTheServerKnowsConditions checks the server that the contract is run on: a
// server that ignores If-None-Match would make the suite blind.
func TestTheServerKnowsConditions(t *testing.T) {
	s := server(t)
	for i, want := range []int{http.StatusOK, http.StatusPreconditionFailed} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.URL+"/b/k", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("If-None-Match", "*")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("put %d: %s", i, res.Status)
		}
	}
}

func TestFailuresHaveKindsAndNoSecrets(t *testing.T) {
	s := server(t)
	_, err := open(t, s, "nobucket").Stat(t.Context(), "k")
	if batch.KindOf(err) != batch.NotFound {
		t.Errorf("no bucket: %v", err)
	}
	b := open(t, s, "b")
	s.Close()
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	_, err = b.Stat(t.Context(), "k")
	if batch.KindOf(err) != batch.Unavailable || strings.Contains(err.Error(), "testsecret") || strings.Contains(err.Error(), "?") {
		t.Errorf("no server: %v", err)
	}
	forbidden := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`<Error><Code>AccessDenied</Code><Message>no</Message></Error>`))
	}))
	defer forbidden.Close()
	for range open(t, forbidden, "b").List(t.Context(), "", "") {
		break
	}
	_, err = open(t, forbidden, "b").OpenRange(t.Context(), "k", 0, -1)
	if batch.KindOf(err) != batch.Credentials {
		t.Errorf("forbidden: %v", err)
	}
	for _, uri := range []string{"s3://b/k?prefix=x", "s3://b/k?nonsense=SECRET"} {
		_, _, err := all.Registry().Open(t.Context(), uri)
		if err == nil || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: %v", uri, err)
		}
	}
}
