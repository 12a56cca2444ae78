// Package arch holds the house in order: a table of layers, and tests that read
// the packages as they are and fail where one stands outside its place.
package arch
