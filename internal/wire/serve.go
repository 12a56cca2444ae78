package wire

import "context"

func (s *Session) serve(context.Context) error { return nil }
