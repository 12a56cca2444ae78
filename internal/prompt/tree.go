package prompt

// The tree of a template. Every node that can fail knows its offset.
type (
	stmt interface{}

	textStmt struct{ text string }
	outStmt  struct{ x expr }
	ifStmt   struct {
		cond      expr
		then, alt []stmt
	}
	forStmt struct {
		pos        int
		names      []string
		over       expr
		filter     expr // nil without one
		body, none []stmt
	}
	setStmt struct {
		pos  int
		name string
		x    expr   // nil for the block form
		body []stmt // captured text of the block form
	}

	expr interface{}

	litExpr  struct{ v value }
	nameExpr struct {
		pos  int
		name string
	}
	attrExpr struct {
		pos int
		x   expr
		key string
	}
	indexExpr struct {
		pos int
		x   expr
		arg expr
	}
	sliceExpr struct {
		pos              int
		x                expr
		start, end, step expr // each may be nil
	}
	listExpr struct{ xs []expr }
	dictExpr struct {
		pos        int
		keys, vals []expr
	}
	unaryExpr struct {
		pos int
		op  string // + - not
		x   expr
	}
	binaryExpr struct {
		pos  int
		op   string // + - * / // % ** ~ and or
		a, b expr
	}
	compareExpr struct {
		pos int
		ops []string // == != < <= > >= in "not in"
		xs  []expr   // one more than ops
	}
	condExpr struct{ cond, then, alt expr } // alt may be nil: then undefined
	callExpr struct {
		pos  int
		args []expr // of range, the only function
	}
	filterExpr struct {
		pos  int
		x    expr
		def  *filterDef
		args arguments
		// inner and check are the filter and the test that map, select and the
		// like were given by name.
		inner *filterDef
		check *testDef
	}
	testExpr struct {
		pos  int
		x    expr
		def  *testDef
		args []expr
	}
	arguments struct {
		pos   []expr
		named []namedArg
	}
	namedArg struct {
		name string
		x    expr
	}
)
