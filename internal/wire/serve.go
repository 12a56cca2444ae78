package wire

import (
	"context"

	"github.com/batchwright/batchwright/internal/httpapi"
)

// serve lets other terminals ask and steer through a socket in the data
// directory, for as long as the session is open.
func (s *Session) serve(ctx context.Context) error {
	l, err := httpapi.Listen(s.Dir.Socket())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- httpapi.Serve(ctx, l, discreet{httpapi.New(s.App), s.secrets}) }()
	s.onClose(func(context.Context) error {
		cancel()
		return <-ended
	})
	return nil
}
