package config

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestExplain(t *testing.T) {
	file := write(t, "[system]\nnumPartitions=3\nquartzThreadCount=5\n[topic=a]\nstat=false\ndataPath=/a\n[topic=w-*]\nstat=false\n")
	c, err := Load(file, []string{"METAQ_BROKER_ID=2"}, map[string]string{"serverPort": "9", "topic.a.numPartitions": "4"})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := c.Explain(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`(?m)^KEY +VALUE +FROM +CHANGE +MEANING$`,
		`(?m)^brokerId +2 +METAQ_BROKER_ID +restart +id of this broker`,
		`(?m)^serverPort +9 +flag +restart `,
		`(?m)^numPartitions +3 +server.ini:2 +reload `,
		`(?m)^maxLineLength +4096 +default +restart `,
		`(?m)^quartzThreadCount +5 +server.ini:3 +no effect +accepted, has no effect here because one goroutine`,
		`(?m)^topic.a +reload +a topic`,
		`(?m)^topic.a.numPartitions +4 +flag +reload `,
		`(?m)^topic.a.stat +false +server.ini:5 +reload `,
		`(?m)^topic.a.dataPath +/a +server.ini:6 +no effect +accepted, has no effect here because `,
		`(?m)^topic.w-\*.stat +false +server.ini:8 +no effect +accepted, has no effect here because topics that match`,
		`(?m)^acks mean: flushed$`,
	} {
		if !regexp.MustCompile(want).Match(out.Bytes()) {
			t.Errorf("no %s in\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "maxCheckpoints") {
		t.Error("a key without effect that nobody has set is listed")
	}
}

// conf/server.ini lists every key with the default that holds when there is a file, and says nothing else.
func TestShippedFile(t *testing.T) {
	c, err := Load("../../conf/server.ini", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	empty := load(t, "[system]\n")
	for _, k := range keys {
		if !bytes.Contains(c.Raw(), []byte("\n"+k.name+"=")) {
			t.Errorf("conf/server.ini does not have %s", k.name)
		}
		if k.class != noEffect && k.get(c) != k.get(empty) {
			t.Errorf("conf/server.ini has %s=%s, the default is %s", k.name, k.get(c), k.get(empty))
		}
	}
	_, topic, _ := bytes.Cut(c.Raw(), []byte("[topic="))
	for _, k := range topicKeys {
		if !regexp.MustCompile(`(?m)^;?` + k.name + `=`).Match(topic) {
			t.Errorf("conf/server.ini does not show %s for a topic", k.name)
		}
	}
}

func TestDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		rows := regexp.MustCompile("(?m)^\\| `"+regexp.QuoteMeta(k.name)+"` \\|.*$").FindAllString(string(page), -1)
		if len(rows) != 1 {
			t.Errorf("docs/configuration.md has %d rows about %s, want 1", len(rows), k.name)
			continue
		}
		if k.class != noEffect && !strings.HasSuffix(rows[0], "| "+k.class.String()+" |") {
			t.Errorf("docs/configuration.md does not say that a change of %s takes a %s: %s", k.name, k.class, rows[0])
		}
		if k.class == noEffect {
			continue
		}
		// The default, or "DEFAULT; ANOTHER without a file".
		said, _, _ := strings.Cut(strings.TrimSpace(strings.Split(rows[0], " | ")[1]), ";")
		if said == "empty" {
			said = ""
		}
		text := "[" + k.section + "]\n" + k.name + "=" + said + "\n"
		if k.name == "zk.zkEnable" {
			text += "zk.zkConnect=127.0.0.1:2181\n" // there is no cluster without
		}
		if got, want := k.get(load(t, text)), k.get(load(t, "[system]\n")); got != want {
			t.Errorf("docs/configuration.md says that %s is %q by default, it is %q", k.name, said, want)
		}
	}
	_, example, _ := strings.Cut(string(page), "\n## The file\n\n")
	example, _, _ = strings.Cut(example, "\n\n*")
	c := load(t, strings.ReplaceAll(example, "\n    ", "\n"))
	if topic, ok := c.Topic("orders"); !ok || topic.NumPartitions != 8 {
		t.Errorf("the example of a file gives orders %+v, %v", topic, ok)
	}
}
