module github.com/batchwright/batchwright

go 1.26.0
