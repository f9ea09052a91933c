package imports

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/metaq/metaq/test/process"
)

const module = "github.com/metaq/metaq"

// A rule says what the packages of one folder may import of this module, and which outside modules they must not pull
// in, directly or through others.
type rule struct {
	folder   string   // the package itself and everything below, unless a longer rule matches
	may      []string // folders of other rules that may be imported
	mayTests []string // what its tests may import besides
	without  []string // prefixes of import paths that must not be among the dependencies
}

// The one direction of imports: protocol <- store <- server <- tools, protocol <- zkcoord <- {client, server}, client <- tools.
var rules = []rule{
	{
		folder:  "protocol",
		without: []string{"github.com/", "gopkg.in/", "golang.org/x/", "net"},
	},
	{
		folder:  "store/vfs",
		without: []string{"github.com/panjf2000/"},
	},
	{
		folder:   "store",
		may:      []string{"protocol", "store/vfs"},
		mayTests: []string{"test"},
		without:  []string{"github.com/panjf2000/", "net/http"},
	},
	{
		folder:  "server/config",
		may:     []string{"protocol", "store", "store/vfs", "zkcoord"},
		without: []string{"github.com/panjf2000/", "net/http"},
	},
	{
		// Programs of users are linked with it, through client.
		folder:   "zkcoord",
		may:      []string{"protocol"},
		mayTests: []string{"test"},
		without:  []string{"github.com/panjf2000/", "github.com/edsrzf/", "github.com/rs/", "github.com/prometheus/"},
	},
	{
		folder:   "server",
		may:      []string{"protocol", "store", "store/vfs", "server/config", "zkcoord"},
		mayTests: []string{"test"},
	},
	{
		// Programs of users are linked with it: it has to stay small, and to compile where the broker does not run.
		folder:   "client",
		may:      []string{"protocol", "zkcoord"},
		mayTests: []string{"client/metaqtest", "test"},
		without:  []string{module + "/store", module + "/server", "github.com/panjf2000/", "github.com/edsrzf/", "github.com/rs/", "github.com/prometheus/"},
	},
	{
		folder: "client/metaqtest",
		may:    []string{"client", "protocol", "server", "server/config"},
	},
	{
		folder:   "tools",
		may:      []string{"client", "protocol", "server", "server/config", "store", "store/vfs", "zkcoord"},
		mayTests: []string{"client/metaqtest", "test"},
	},
	{
		folder: "test",
		may:    []string{"client", "client/metaqtest", "protocol", "server", "server/config", "store", "store/vfs", "zkcoord"},
		// The shipper's test reads what `metaq ship status` prints.
		mayTests: []string{"tools"},
	},
}

// kept are outside modules that only one folder may import by itself: what they are good for is asked of that folder.
var kept = map[string]string{"github.com/go-zookeeper/": "zkcoord"}

// avoided are names of packages that would say nothing about what is in them.
var avoided = []string{"util", "utils", "common", "helper", "helpers", "misc", "base"}

// goPackage is what `go list -json` tells, as far as it is needed here.
type goPackage struct {
	ImportPath   string
	Name         string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string
}

// folder is the path of a package below the module, or "" for a package from elsewhere.
func folder(importPath string) string {
	rest, ok := strings.CutPrefix(importPath, module+"/")
	if !ok {
		return ""
	}
	return rest
}

func below(folder, parent string) bool {
	return folder == parent || strings.HasPrefix(folder, parent+"/")
}

// ruleOf is the rule with the longest folder that matches, or nil.
func ruleOf(name string) *rule {
	var found *rule
	for i := range rules {
		if below(name, rules[i].folder) && (found == nil || len(rules[i].folder) > len(found.folder)) {
			found = &rules[i]
		}
	}
	return found
}

// violations lists what is wrong with a package's imports, one sentence each.
func violations(p goPackage) []string {
	own := folder(p.ImportPath)
	var wrong []string
	if slices.Contains(avoided, p.Name) || slices.Contains(avoided, path.Base(own)) {
		wrong = append(wrong, fmt.Sprintf("%s: the name %q says nothing about what is in it", own, p.Name))
	}
	r := ruleOf(own)
	if r == nil {
		return append(wrong, fmt.Sprintf("%s: no rule for this folder; add one to test/imports", own))
	}
	check := func(imports []string, kind string, may ...string) {
		for _, imported := range imports {
			target := folder(imported)
			if target == "" || target == own {
				continue
			}
			of := ruleOf(target)
			if of != r && (of == nil || !slices.Contains(may, of.folder)) {
				wrong = append(wrong, fmt.Sprintf("%s: %s %s, which %s must not", own, kind, target, r.folder))
			}
		}
	}
	check(p.Imports, "imports", r.may...)
	forTests := append(slices.Clone(r.may), r.mayTests...)
	check(p.TestImports, "its tests import", forTests...)
	check(p.XTestImports, "its tests import", forTests...)
	for _, imported := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
		for prefix, keeper := range kept {
			if strings.HasPrefix(imported, prefix) && r.folder != keeper {
				wrong = append(wrong, fmt.Sprintf("%s: imports %s, which only %s may", own, imported, keeper))
			}
		}
	}
	for _, dep := range p.Deps {
		for _, prefix := range r.without {
			if dep == prefix || strings.HasPrefix(dep, strings.TrimSuffix(prefix, "/")+"/") {
				wrong = append(wrong, fmt.Sprintf("%s: depends on %s, which %s must do without", own, dep, r.folder))
			}
		}
	}
	return wrong
}

func TestImportsGoOneWay(t *testing.T) {
	process.DependOnSource(t)
	cmd := exec.Command("go", "list", "-json=ImportPath,Name,Imports,TestImports,XTestImports,Deps", module+"/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	packages := 0
	for dec := json.NewDecoder(bytes.NewReader(out)); ; packages++ {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("read the answer of go list: %v", err)
		}
		for _, v := range violations(p) {
			t.Error(v)
		}
	}
	// An empty list would pass for the wrong reason.
	if packages < 5 {
		t.Fatalf("go list named %d packages, expected the whole module", packages)
	}
}

// The test above is worth something only if it finds what is wrong.
func TestViolationsAreFound(t *testing.T) {
	in := func(name string) string { return module + "/" + name }
	cases := []struct {
		name string
		pkg  goPackage
		want int
	}{
		{"protocol alone", goPackage{ImportPath: in("protocol"), Name: "protocol", Imports: []string{"bytes"}, Deps: []string{"bytes"}}, 0},
		{"protocol imports store", goPackage{ImportPath: in("protocol"), Name: "protocol", Imports: []string{in("store")}}, 1},
		{"protocol does network", goPackage{ImportPath: in("protocol"), Name: "protocol", Deps: []string{"net"}}, 1},
		{"protocol parses addresses", goPackage{ImportPath: in("protocol"), Name: "protocol", Deps: []string{"netsome"}}, 0},
		{"store imports its vfs", goPackage{ImportPath: in("store"), Name: "store", Imports: []string{in("protocol"), in("store/vfs")}}, 0},
		{"vfs imports store", goPackage{ImportPath: in("store/vfs"), Name: "vfs", Imports: []string{in("store")}}, 1},
		{"store imports server", goPackage{ImportPath: in("store"), Name: "store", Imports: []string{in("server")}}, 1},
		{"config imports server", goPackage{ImportPath: in("server/config"), Name: "config", Imports: []string{in("server")}}, 1},
		{"server imports client", goPackage{ImportPath: in("server"), Name: "server", Imports: []string{in("client")}}, 1},
		{"server's tests import client", goPackage{ImportPath: in("server"), Name: "server", XTestImports: []string{in("client")}}, 1},
		{"client imports server", goPackage{ImportPath: in("client"), Name: "client", Imports: []string{in("server")}}, 1},
		{"client depends on gnet", goPackage{ImportPath: in("client"), Name: "client", Deps: []string{"github.com/panjf2000/gnet/v2"}}, 1},
		{"client imports its test double", goPackage{ImportPath: in("client"), Name: "client", Imports: []string{in("client/metaqtest")}}, 1},
		{"client's tests use the test double", goPackage{ImportPath: in("client"), Name: "client", XTestImports: []string{in("client/metaqtest")}}, 0},
		{"the test double imports server", goPackage{ImportPath: in("client/metaqtest"), Name: "metaqtest", Imports: []string{in("server"), in("server/config")}}, 0},
		{"a tool imports the test double", goPackage{ImportPath: in("tools/metaq"), Name: "main", Imports: []string{in("client/metaqtest")}}, 1},
		{"tool imports everything", goPackage{ImportPath: in("tools/metaq"), Name: "main", Imports: []string{in("client"), in("server"), in("store")}}, 0},
		{"server imports a test", goPackage{ImportPath: in("server"), Name: "server", Imports: []string{in("test/process")}}, 1},
		{"zkcoord talks to ZooKeeper", goPackage{ImportPath: in("zkcoord"), Name: "zkcoord", Imports: []string{"github.com/go-zookeeper/zk"}}, 0},
		{"client talks to ZooKeeper itself", goPackage{ImportPath: in("client"), Name: "client", Imports: []string{"github.com/go-zookeeper/zk"}}, 1},
		{"a test talks to ZooKeeper itself", goPackage{ImportPath: in("test/cluster"), Name: "cluster", XTestImports: []string{"github.com/go-zookeeper/zk"}}, 1},
		{"a folder nobody thought of", goPackage{ImportPath: in("stuff"), Name: "stuff"}, 1},
		{"a name that says nothing", goPackage{ImportPath: in("store/utils"), Name: "utils"}, 1},
	}
	for _, c := range cases {
		if got := violations(c.pkg); len(got) != c.want {
			t.Errorf("%s: got %q, want %d violations", c.name, got, c.want)
		}
	}
}
