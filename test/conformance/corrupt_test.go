package conformance

import (
	"net"
	"strings"
	"testing"
	"time"
)

// corrupt forwards connections to a broker and changes one bit in every piece of its answers.
func corrupt(t *testing.T, addr string) (proxy string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", addr)
			if err != nil {
				c.Close()
				return
			}
			go forward(b, c, 0)
			go forward(c, b, 1)
		}
	}()
	return l.Addr().String()
}

func forward(to, from net.Conn, mask byte) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 2<<20)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			buf[n-1] ^= mask
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// A broker that answers right but for one bit must fail every vector that compares bytes: what passes here proves
// nothing above.
func TestOneWrongBitIsConvicted(t *testing.T) {
	broker := startBroker(t)
	proxy := corrupt(t, broker.Addr)
	differences := make(map[string]bool)
	for _, d := range loadVectors(t, "differences.json") {
		differences[d.Name] = true
	}
	convicted, of := 0, 0
	for _, v := range loadVectors(t, "vectors.json") {
		if v.Match != "exact" || v.Needs != "" || usesTransactions(v) || differences[v.Name] || !comparesBytes(v) {
			continue
		}
		of++
		c := newTestChecker(proxy)
		c.Timeout = 2 * time.Second
		switch err := c.Play(v); {
		case err == nil:
			t.Errorf("%s: passed", v.Name)
		case !strings.Contains(err.Error(), "differs"):
			t.Errorf("%s: failed for another reason: %v", v.Name, err)
		default:
			convicted++
		}
	}
	if of < 40 {
		t.Errorf("only %d vectors compare bytes", of)
	}
	t.Logf("vectors that convict a broker with one wrong bit: %d of %d", convicted, of)
}

// comparesBytes says whether the end of a vector's first answer, where the wrong bit is, has to agree.
func comparesBytes(v Vector) bool {
	first := v.Steps[0]
	return len(first.Expect) > 0 && !strings.HasSuffix(first.Expect[0], "}") && !first.OrError && len(first.Alt) == 0
}
