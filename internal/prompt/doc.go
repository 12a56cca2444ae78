// Package prompt renders the templates that become a model's input. The
// language is the logic-light part of Jinja: literal text, variables, filters,
// tests, if, for, set and raw, with Jinja's own rules for white space,
// precedence and printing. It has its own reader and evaluator, so nothing but
// what stands in this package can run: there is no include, import, extends,
// macro, call or block, no method call, no attribute of a Go value, no
// environment, no file and no clock, and a value of an item is never read as a
// template.
//
// Fields of the item are top-level names and stand under item as well. A name
// that is neither a field nor set by the template is undefined. Undefined may
// be asked for (is defined, is undefined), replaced (default) and tested for
// truth (if, not, and, or: it is false); any other use is an error that names
// it.
//
// What differs from Jinja on purpose: nothing is escaped; tojson writes plain
// JSON in the item's own key order; a number prints as the input wrote it
// (1.10 stays 1.10); x.y never reaches anything but the item's data, so a field
// called "items" is the field; integers have 64 bits and overflow is an error;
// undefined passes through attributes (a.b.c|default("-") works when a is
// missing); filters that make a sequence make a list, and a tuple is
// a list; wordwrap never breaks at a hyphen.
//
// Filters: abs, capitalize, center, count, d, default, dictsort, e, escape,
// first, float, format, indent, int, items, join, last, length, list, lower,
// map, max, min, reject, rejectattr, replace, reverse, round, select,
// selectattr, sort, string, sum, title, tojson, trim, truncate, unique, upper,
// urlencode, wordcount, wordwrap.
// Tests: boolean, defined, divisibleby, eq, equalto, even, false, float, ge, gt,
// greaterthan, in, integer, iterable, le, lessthan, lower, lt, mapping, ne,
// none, number, odd, sequence, string, true, undefined, upper and the signs
// == != < <= > >= as names in select.
// Function: range. Loop facts: loop.index, index0, revindex, revindex0, first,
// last, length, previtem, nextitem, depth, depth0.
package prompt

// The caps. They stop a template, or an item, that would eat the machine; no
// honest prompt comes near them.
const (
	MaxSource     = 1 << 20 // bytes of a template
	MaxOutput     = 1 << 20 // bytes of a rendered prompt
	MaxIterations = 10_000  // of all loops of one rendering together
	MaxNesting    = 32      // of blocks, and of brackets in an expression
	// maxWork bounds what one rendering may compute, in steps of some tens of
	// nanoseconds: a node visited, an element touched, 16 bytes written.
	maxWork = 1_000_000
)
