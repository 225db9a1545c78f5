package relay

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// Questions asked at once take one round trip together, ten one after the other
// take ten.
func TestListen(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(c, c); c.Close() }()
		}
	}()
	const oneWay = 50 * time.Millisecond
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", Listen(t, echo.Addr().String(), oneWay).Port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	in := bufio.NewReader(c)
	ask := func(n int) {
		for range n {
			fmt.Fprintln(c, "question")
		}
		for range n {
			if line, err := in.ReadString('\n'); err != nil || line != "question\n" {
				t.Fatalf("%q, %v", line, err)
			}
		}
	}
	began := time.Now()
	ask(200) // one after the other: 20 s
	together := time.Since(began)
	began = time.Now()
	for range 10 {
		ask(1)
	}
	apart := time.Since(began)
	if together < 2*oneWay || apart < 20*oneWay || together > 200*oneWay {
		t.Errorf("together %v, apart %v, one way %v", together, apart, oneWay)
	}
}
