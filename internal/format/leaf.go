package format

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	layout "github.com/parquet-go/parquet-go/format"
)

// encoder appends one value of a leaf column as JSON.
type encoder func(dst []byte, v *parquet.Value) ([]byte, error)

// leafEncoder chooses by what the column says it holds, then by how it is stored.
func leafEncoder(t parquet.Type) encoder {
	var logical layout.LogicalTypeValue
	if l := t.LogicalType(); l != nil {
		logical = l.Value
	}
	switch l := logical.(type) {
	case *layout.StringType, *layout.EnumType:
		return encodeText
	case *layout.JsonType:
		return encodeJSON
	case *layout.DecimalType:
		return decimal(int(l.Scale), t.Kind())
	case *layout.DateType:
		return encodeDate
	case *layout.TimestampType:
		return timestamp(l.Unit, l.IsAdjustedToUTC)
	case *layout.TimeType:
		return timeOfDay(l.Unit)
	case *layout.UUIDType:
		return encodeUUID
	case *layout.IntType:
		if !l.IsSigned {
			return unsigned(t.Kind())
		}
	}
	return physicalEncoder(t.Kind())
}

func physicalEncoder(k parquet.Kind) encoder {
	switch k {
	case parquet.Boolean:
		return func(dst []byte, v *parquet.Value) ([]byte, error) { return strconv.AppendBool(dst, v.Boolean()), nil }
	case parquet.Int32:
		return func(dst []byte, v *parquet.Value) ([]byte, error) {
			return strconv.AppendInt(dst, int64(v.Int32()), 10), nil
		}
	case parquet.Int64:
		return func(dst []byte, v *parquet.Value) ([]byte, error) { return strconv.AppendInt(dst, v.Int64(), 10), nil }
	case parquet.Int96:
		return encodeInt96
	case parquet.Float:
		return func(dst []byte, v *parquet.Value) ([]byte, error) { return appendFloat(dst, float64(v.Float()), 32) }
	case parquet.Double:
		return func(dst []byte, v *parquet.Value) ([]byte, error) { return appendFloat(dst, v.Double(), 64) }
	case parquet.ByteArray:
		return encodeBytes
	}
	return func(dst []byte, v *parquet.Value) ([]byte, error) { return appendBase64(dst, v.ByteArray()), nil }
}

func unsigned(k parquet.Kind) encoder {
	return func(dst []byte, v *parquet.Value) ([]byte, error) {
		if k == parquet.Int32 {
			return strconv.AppendUint(dst, uint64(v.Uint32()), 10), nil
		}
		return strconv.AppendUint(dst, v.Uint64(), 10), nil
	}
}

func appendFloat(dst []byte, f float64, bits int) ([]byte, error) {
	switch a := math.Abs(f); {
	case math.IsNaN(f):
		return append(dst, "null"...), nil
	case math.IsInf(f, 0):
		return dst, errors.New("infinity is not a JSON number")
	case a != 0 && (a < 1e-6 || a >= 1e21):
		return strconv.AppendFloat(dst, f, 'e', -1, bits), nil
	}
	return strconv.AppendFloat(dst, f, 'f', -1, bits), nil
}

func encodeText(dst []byte, v *parquet.Value) ([]byte, error) {
	if b := v.ByteArray(); utf8.Valid(b) {
		return appendString(dst, b), nil
	}
	return dst, errors.New("the text is not valid UTF-8")
}

// encodeBytes writes bytes that the schema says nothing about: many writers
// leave text without a mark.
func encodeBytes(dst []byte, v *parquet.Value) ([]byte, error) {
	if b := v.ByteArray(); utf8.Valid(b) {
		return appendString(dst, b), nil
	}
	return appendBase64(dst, v.ByteArray()), nil
}

func appendBase64(dst, b []byte) []byte {
	dst = base64.StdEncoding.AppendEncode(append(dst, '"'), b)
	return append(dst, '"')
}

func encodeJSON(dst []byte, v *parquet.Value) ([]byte, error) {
	var s Scanner
	if b := v.ByteArray(); s.Scan(b) == nil {
		return compact(dst, b), nil
	}
	return dst, errors.New("the value is marked as JSON and is not")
}

func encodeDate(dst []byte, v *parquet.Value) ([]byte, error) {
	return appendTime(dst, time.Unix(int64(v.Int32())*86400, 0), "2006-01-02")
}

// appendTime writes years that fit four digits; others have no common form.
func appendTime(dst []byte, t time.Time, form string) ([]byte, error) {
	t = t.UTC()
	if y := t.Year(); y < 0 || y > 9999 {
		return dst, errors.New("the year has more than four digits")
	}
	return append(t.AppendFormat(append(dst, '"'), form), '"'), nil
}

func timestamp(unit layout.TimeUnit, utc bool) encoder {
	form := "2006-01-02T15:04:05.999999999"
	if utc {
		form += "Z"
	}
	return func(dst []byte, v *parquet.Value) ([]byte, error) {
		return appendTime(dst, since(unit, v.Int64()), form)
	}
}

// since is n units after 1970, without overflow.
func since(unit layout.TimeUnit, n int64) time.Time {
	d := time.Nanosecond
	if unit.Value != nil {
		d = unit.Value.Duration()
	}
	per := int64(time.Second / d)
	return time.Unix(n/per, n%per*int64(d))
}

func timeOfDay(unit layout.TimeUnit) encoder {
	return func(dst []byte, v *parquet.Value) ([]byte, error) {
		n := int64(v.Int32())
		if v.Kind() == parquet.Int64 {
			n = v.Int64()
		}
		return appendTime(dst, since(unit, n), "15:04:05.999999999")
	}
}

// encodeInt96 writes the timestamps of old Spark and Impala: nanoseconds of the
// day and the Julian day.
func encodeInt96(dst []byte, v *parquet.Value) ([]byte, error) {
	const epoch = 2440588 // Julian day of 1970-01-01
	i := v.Int96()
	nanos := int64(uint64(i[1])<<32 | uint64(i[0]))
	return appendTime(dst, time.Unix((int64(i[2])-epoch)*86400, nanos), "2006-01-02T15:04:05.999999999Z")
}

func encodeUUID(dst []byte, v *parquet.Value) ([]byte, error) {
	b := v.ByteArray()
	if len(b) != 16 {
		return dst, errors.New("a UUID has not 16 bytes")
	}
	h := hex.EncodeToString(b)
	return appendString(dst, strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")), nil
}

// decimal writes a number with all its digits.
func decimal(scale int, k parquet.Kind) encoder {
	return func(dst []byte, v *parquet.Value) ([]byte, error) {
		var n big.Int
		switch k {
		case parquet.Int32:
			n.SetInt64(int64(v.Int32()))
		case parquet.Int64:
			n.SetInt64(v.Int64())
		default:
			b := v.ByteArray()
			n.SetBytes(b)
			if len(b) > 0 && b[0]&0x80 != 0 { // two's complement
				n.Sub(&n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
			}
		}
		if n.Sign() < 0 {
			dst = append(dst, '-')
			n.Neg(&n)
		}
		digits := n.String()
		if scale <= 0 {
			return append(dst, digits...), nil
		}
		if len(digits) <= scale {
			digits = strings.Repeat("0", scale-len(digits)+1) + digits
		}
		dst = append(dst, digits[:len(digits)-scale]...)
		return append(append(dst, '.'), digits[len(digits)-scale:]...), nil
	}
}
