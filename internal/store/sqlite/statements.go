package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"sync"
)

// statements prepares each text once for a pool. A text is met first inside a
// transaction, where preparing on a pool of one connection would wait for ever;
// it runs unprepared there and is prepared after.
type statements struct {
	pool *sql.DB

	mu     sync.Mutex
	ready  map[string]*sql.Stmt
	wanted map[string]bool
}

func newStatements(pool *sql.DB) *statements {
	return &statements{pool: pool, ready: map[string]*sql.Stmt{}, wanted: map[string]bool{}}
}

func (s *statements) get(text string) *sql.Stmt {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.ready[text]; st != nil {
		return st
	}
	s.wanted[text] = true
	return nil
}

// prepare prepares what was wanted; call it outside of transactions. It holds
// no lock while it waits for a connection: the transaction that has it asks
// for statements too. A text that does not prepare stays unprepared and shows
// its error where it is used.
func (s *statements) prepare(ctx context.Context) {
	s.mu.Lock()
	wanted := s.wanted
	s.wanted = map[string]bool{}
	s.mu.Unlock()
	for text := range wanted {
		st, err := s.pool.PrepareContext(ctx, text)
		if err != nil {
			continue
		}
		s.mu.Lock()
		if s.ready[text] == nil {
			s.ready[text], st = st, nil
		}
		s.mu.Unlock()
		if st != nil {
			_ = st.Close() // another caller was first
		}
	}
}

func (s *statements) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, st := range s.ready {
		errs = append(errs, st.Close())
	}
	return errors.Join(errs...)
}

// txn is one transaction whose statements are prepared.
type txn struct {
	*sql.Tx
	stmts *statements
}

// ExecContext runs a statement.
func (t txn) ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error) {
	if st := t.stmts.get(text); st != nil {
		return t.StmtContext(ctx, st).ExecContext(ctx, args...)
	}
	return t.Tx.ExecContext(ctx, text, args...)
}

// QueryContext runs a query.
func (t txn) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	if st := t.stmts.get(text); st != nil {
		return t.StmtContext(ctx, st).QueryContext(ctx, args...)
	}
	return t.Tx.QueryContext(ctx, text, args...)
}

// QueryRowContext runs a query for one row.
func (t txn) QueryRowContext(ctx context.Context, text string, args ...any) *sql.Row {
	if st := t.stmts.get(text); st != nil {
		return t.StmtContext(ctx, st).QueryRowContext(ctx, args...)
	}
	return t.Tx.QueryRowContext(ctx, text, args...)
}

// exec runs a statement and counts the rows it changed.
func (t txn) exec(ctx context.Context, text string, args ...any) (int64, error) {
	r, err := t.ExecContext(ctx, text, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// reader queries a pool with prepared statements.
type reader struct {
	*sql.DB
	stmts *statements
}

func newReader(pool *sql.DB) reader { return reader{pool, newStatements(pool)} }

// QueryContext runs a query.
func (r reader) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	if st := r.stmts.get(text); st != nil {
		return st.QueryContext(ctx, args...)
	}
	r.stmts.prepare(ctx)
	return r.DB.QueryContext(ctx, text, args...)
}

// QueryRowContext runs a query for one row.
func (r reader) QueryRowContext(ctx context.Context, text string, args ...any) *sql.Row {
	if st := r.stmts.get(text); st != nil {
		return st.QueryRowContext(ctx, args...)
	}
	r.stmts.prepare(ctx)
	return r.DB.QueryRowContext(ctx, text, args...)
}
