package config

import "fmt"

// class says what a change of a key takes.
type class uint8

const (
	reloadable class = iota // SIGHUP takes it
	restart                 // it takes a restart
	noEffect                // accepted, because an original file has it
)

func (c class) String() string { return [...]string{"reload", "restart", "no effect"}[c] }

// The sections of a file that are not a topic's.
const (
	systemSection    = "system"
	zookeeperSection = "zookeeper"
)

// key is one setting of an owner: of the broker (*Config) or of a topic (*TopicConfig). An ini file, the environment and --set name it alike.
type key[O any] struct {
	name    string
	section string // where it stands in a file; nothing for the keys of topics
	class   class
	about   string // one line for --check-config; with noEffect: why it has none
	set     func(*O, string) error
	get     func(*O) string
	copy    func(to, from *O)
}

// newKey is a key whose value is of a kind and lies at a place of its owner.
func newKey[O, T any](name string, c class, about string, k kind[T], at func(*O) *T) key[O] {
	return key[O]{name: name, section: systemSection, class: c, about: about,
		set: func(owner *O, text string) error {
			v, err := k.parse(text)
			if err == nil {
				*at(owner) = v
			}
			return err
		},
		get:  func(owner *O) string { return k.print(*at(owner)) },
		copy: func(to, from *O) { *at(to) = *at(from) },
	}
}

// newZooKeeperKey is a key of [zookeeper].
func newZooKeeperKey[T any](name, about string, k kind[T], at func(*ZooKeeper) *T) key[Config] {
	n := newKey(name, restart, about, k, func(c *Config) *T { return at(&c.ZooKeeper) })
	n.section = zookeeperSection
	return n
}

// ignored is a key without effect.
func ignored[O any](section, name, why string) key[O] {
	return key[O]{name: name, section: section, class: noEffect, about: why}
}

// meaning is what --check-config says about the key.
func (k key[O]) meaning() string {
	if k.class == noEffect {
		return "accepted, has no effect here because " + k.about
	}
	return k.about
}

// find looks a key up, nil if there is none.
func find[O any](keys []key[O], name string) *key[O] {
	for i := range keys {
		if keys[i].name == name {
			return &keys[i]
		}
	}
	return nil
}

// unknown is the error about a key that a section does not have.
func unknown(section, name string) error {
	if k := find(keys, name); k != nil {
		return fmt.Errorf("%s belongs into the section [%s]", name, k.section)
	}
	if find(topicKeys, name) != nil {
		return fmt.Errorf("%s belongs into the section of a topic", name)
	}
	var names []string
	for _, k := range keys {
		if k.section == section || section == "" {
			names = append(names, k.name)
		}
	}
	if section == topicSection {
		for _, k := range topicKeys {
			names = append(names, k.name)
		}
	}
	return fmt.Errorf("unknown key %s%s", name, suggest(name, names))
}
