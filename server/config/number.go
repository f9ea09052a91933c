package config

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"math/big"
	"strconv"
)

// maxExpression bounds the text of a number.
const maxExpression = 128

var errNumber = errors.New("not a number")

// parseNumber reads a whole number, or an expression like 1024*1024*1024: the original evaluates what stands in its file, and files have such
// values. Only + - * / % and parentheses are taken, with decimal and 0x literals.
func parseNumber(s string) (int64, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, nil
	}
	if len(s) > maxExpression {
		return 0, errNumber
	}
	tree, err := parser.ParseExpr(s)
	if err != nil {
		return 0, errNumber
	}
	n, err := evaluate(tree)
	if err != nil {
		return 0, err
	}
	if !n.IsInt64() {
		return 0, strconv.ErrRange
	}
	return n.Int64(), nil
}

// evaluate works without bounds; the result is checked once.
func evaluate(e ast.Expr) (*big.Int, error) {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return evaluate(e.X)
	case *ast.BasicLit:
		// Go's other notations (0b1, 010 for 8, 1_000) are not the original's.
		if n, err := strconv.ParseInt(e.Value, 10, 64); err == nil {
			return big.NewInt(n), nil
		}
		if len(e.Value) > 2 && (e.Value[1] == 'x' || e.Value[1] == 'X') {
			if n, err := strconv.ParseInt(e.Value[2:], 16, 64); err == nil {
				return big.NewInt(n), nil
			}
		}
	case *ast.UnaryExpr:
		if e.Op == token.SUB {
			n, err := evaluate(e.X)
			if err != nil {
				return nil, err
			}
			return n.Neg(n), nil
		}
	case *ast.BinaryExpr:
		a, err := evaluate(e.X)
		if err != nil {
			return nil, err
		}
		b, err := evaluate(e.Y)
		if err != nil {
			return nil, err
		}
		return calculate(e.Op, a, b)
	}
	return nil, errNumber
}

// calculate puts the result into a. Division cuts off, as in Java.
func calculate(op token.Token, a, b *big.Int) (*big.Int, error) {
	switch op {
	case token.ADD:
		return a.Add(a, b), nil
	case token.SUB:
		return a.Sub(a, b), nil
	case token.MUL:
		return a.Mul(a, b), nil
	case token.QUO, token.REM:
		if b.Sign() == 0 {
			return nil, errors.New("division by zero")
		}
		if op == token.QUO {
			return a.Quo(a, b), nil
		}
		return a.Rem(a, b), nil
	}
	return nil, errNumber
}
