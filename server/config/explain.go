package config

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Explain prints every value, where it came from, what a change takes and what it means. Keys without effect are there if they are set; of
// a topic's section what it sets, since the rest is the system's.
func (c *Config) Explain(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "KEY\tVALUE\tFROM\tCHANGE\tMEANING")
	for i := range keys {
		explain(c, tw, c, &keys[i], keys[i].name, false)
	}
	for i := range c.Topics {
		t := &c.Topics[i]
		about := "a topic; what it does not set is the system's"
		if t.Wildcard() {
			about = "admits topics of such names, with the values of the system section"
		}
		fmt.Fprintf(tw, "topic.%s\t\t\t%s\t%s\n", t.Name, reloadable, about)
		for j := range topicKeys {
			if full := topicKeyName(t.Name, topicKeys[j].name); c.sources[full] != "" {
				explain(c, tw, t, &topicKeys[j], full, t.Wildcard())
			}
		}
	}
	if _, err := fmt.Fprintln(tw, "\n"+c.LossWindow()); err != nil {
		return err
	}
	return tw.Flush()
}

func explain[O any](c *Config, w io.Writer, owner *O, k *key[O], full string, wildcard bool) {
	value, change, meaning, from := c.idle[full], k.class, k.meaning(), c.sources[full]
	switch {
	case k.class != noEffect:
		value = k.get(owner)
	case from == "":
		return
	}
	if wildcard {
		change, meaning = noEffect, "accepted, has no effect here because topics that match have the values of the system section"
	}
	if from == "" {
		from = "default"
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", full, value, from, change, meaning)
}
