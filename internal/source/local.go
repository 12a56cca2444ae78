package source

import (
	"context"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/batchwright/batchwright/internal/blob"
)

func expandLocal(ctx context.Context, in Input) ([]File, error) {
	name, err := blob.LocalPath(in.URI)
	if err != nil {
		return nil, err
	}
	full, err := absolute(name, in.Dir)
	if err != nil {
		return nil, err
	}
	st, err := os.Stat(full)
	switch {
	case err == nil && st.IsDir():
		return walkLocal(ctx, full, "**", in.URI)
	case err == nil:
		return []File{localFile(full, st)}, nil
	case hasMeta(in.URI):
		pattern := filepath.ToSlash(full)
		root := staticPart(pattern)
		return walkLocal(ctx, filepath.FromSlash(root), strings.TrimPrefix(strings.TrimPrefix(pattern, root), "/"), in.URI)
	}
	return nil, localError(full, err)
}

func localFile(full string, st os.FileInfo) File {
	f := File{URI: full, Facts: localFacts(st)}
	if st.Mode().IsRegular() {
		f.Path = full
	}
	return f
}

// staticPart is the folder before the first element that has a meta character.
func staticPart(pattern string) string {
	parts := strings.Split(pattern, "/")
	for i, p := range parts {
		if hasMeta(p) {
			root := strings.Join(parts[:i], "/")
			if root == "" && i > 0 {
				return "/"
			}
			return root
		}
	}
	return path.Dir(pattern)
}

func walkLocal(ctx context.Context, root, pattern, uri string) ([]File, error) {
	elements := strings.Split(pattern, "/")
	for _, e := range elements {
		if _, err := path.Match(e, ""); err != nil {
			return nil, badGlob(uri)
		}
	}
	if real, err := filepath.EvalSymlinks(root); err == nil {
		root = real // the walk does not follow links, not even its own root
	}
	var files []File
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if name == root {
			return nil
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		names := strings.Split(filepath.ToSlash(rel), "/")
		if d.IsDir() {
			if !matchPrefix(elements, names) {
				return fs.SkipDir
			}
			return nil
		}
		if !match(elements, names) {
			return nil
		}
		st, err := os.Stat(name) // through a link
		if err != nil {
			return err
		}
		if st.Mode().IsRegular() {
			files = append(files, localFile(name, st))
		}
		return nil
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, localError(root, err)
	}
	if len(files) == 0 {
		return nil, noFiles(uri, "no file matches")
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(filepath.ToSlash(a.URI), filepath.ToSlash(b.URI)) })
	return files, nil
}

// match reports whether the names of a path match the elements of a glob; "**"
// stands for any number of folders, at the end for all that is below.
func match(elements, names []string) bool {
	if len(elements) == 0 {
		return len(names) == 0
	}
	if elements[0] == "**" {
		rest := elements[1:]
		for i, n := range names {
			if match(rest, names[i:]) {
				return true
			}
			if skipped(n) {
				return false
			}
		}
		return len(rest) == 0
	}
	return len(names) > 0 && matchOne(elements[0], names[0]) && match(elements[1:], names[1:])
}

// matchPrefix reports whether something below the folder can match.
func matchPrefix(elements, names []string) bool {
	if len(names) == 0 {
		return len(elements) > 0
	}
	if len(elements) == 0 {
		return false
	}
	if elements[0] == "**" {
		for i, n := range names {
			if len(elements) > 1 && matchPrefix(elements[1:], names[i:]) {
				return true
			}
			if skipped(n) {
				return false
			}
		}
		return true
	}
	return matchOne(elements[0], names[0]) && matchPrefix(elements[1:], names[1:])
}

// matchOne matches one name; a hidden one only by an element that begins as it does.
func matchOne(element, name string) bool {
	if skipped(name) && (element == "" || element[0] != name[0]) {
		return false
	}
	ok, err := path.Match(element, name)
	return ok && err == nil
}
