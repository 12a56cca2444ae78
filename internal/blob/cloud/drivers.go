package cloud

import (
	"net/url"
	"os"

	// Each registers its scheme with the library.
	_ "gocloud.dev/blob/azureblob"
	_ "gocloud.dev/blob/gcsblob"
	_ "gocloud.dev/blob/s3blob"

	"github.com/batchwright/batchwright/internal/blob"
)

// S3 is the driver of s3://bucket/key, for Amazon S3 and what speaks like it.
// Settings in the query: region, endpoint, use_path_style (or s3ForcePathStyle),
// disable_https, profile, anonymous, ssetype, kmskeyid; credentials come from
// the environment or the files of the AWS tools.
func S3() blob.Driver {
	return driver("s3", "check the query of the URI; credentials are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or a role",
		func(q url.Values) {
			// A store of one's own seldom has regions, but a request cannot be
			// signed without one.
			if q.Get("endpoint") != "" && q.Get("region") == "" && os.Getenv("AWS_REGION") == "" && os.Getenv("AWS_DEFAULT_REGION") == "" {
				q.Set("region", "us-east-1")
			}
		})
}

// GCS is the driver of gs://bucket/key, with Google's application default
// credentials.
func GCS() blob.Driver {
	return driver("gs", "sign in with: gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS", func(url.Values) {})
}

// Azure is the driver of azblob://container/key, with AZURE_STORAGE_ACCOUNT and
// AZURE_STORAGE_KEY, a SAS token, a connection string or a managed identity.
func Azure() blob.Driver {
	return driver("azblob", "set AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY, or AZURE_STORAGE_CONNECTION_STRING", func(url.Values) {})
}
