package config

import "testing"

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "17": 17, "4k": 4 << 10, "128M": 128 << 20, "1G": 1 << 30, "1g": 1 << 30, "1024*1024": 1 << 20} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "M", "1.5G", "-1K", "1T", "1MB", "1 M", "9223372036854775807K", "8589934592G"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%s: %d, want an error", text, got)
		}
	}
}

// Explain prints values that can be put into a file.
func TestKinds_TakeWhatTheyPrint(t *testing.T) {
	c := Default()
	c.DeletePolicy = policy{}
	for _, k := range keys {
		if k.class == noEffect {
			continue
		}
		copied := Default()
		text := k.get(c)
		if err := k.set(copied, text); err != nil || k.get(copied) != text {
			t.Errorf("%s=%s: %v, then %s", k.name, text, err, k.get(copied))
		}
	}
}

func TestDeletePolicy_Keep(t *testing.T) {
	c := load(t, "[system]\ndeletePolicy=Keep\n[topic=t]\ndeletePolicy=delete,1\n")
	topic, _ := c.Topic("t")
	if c.DeletePolicy != (policy{}) || topic.DeletePolicy.MaxAge == 0 {
		t.Errorf("system %+v, topic %+v", c.DeletePolicy, topic.DeletePolicy)
	}
}
