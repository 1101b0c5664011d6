package outbound

// memory remembers settled sequences, so that a command whose ack was lost is
// acked again and not sent again. It keeps two generations and drops the older
// one once its commands cannot come again; beyond its size the older one goes
// early, and the ref absorbs what then comes again.
type memory struct {
	young, old       map[uint64]struct{}
	youngest, oldest uint64 // the highest sequence of each
}

const generation = 32768

func (m *memory) add(sequence uint64) {
	if len(m.young) >= generation {
		m.turn()
	}
	if m.young == nil {
		m.young = make(map[uint64]struct{})
	}
	m.young[sequence] = struct{}{}
	m.youngest = max(m.youngest, sequence)
}

func (m *memory) has(sequence uint64) bool {
	if _, ok := m.young[sequence]; ok {
		return true
	}
	_, ok := m.old[sequence]
	return ok
}

// prune forgets what is at or below floor, a generation at a time.
func (m *memory) prune(floor uint64) {
	switch {
	case len(m.young)+len(m.old) == 0:
		*m = memory{}
	case m.oldest <= floor:
		m.turn()
	}
}

func (m *memory) turn() {
	clear(m.old)
	m.young, m.old = m.old, m.young
	m.youngest, m.oldest = 0, m.youngest
}

// above lists what it remembers beyond floor.
func (m *memory) above(floor uint64) []uint64 {
	var list []uint64
	for _, half := range []map[uint64]struct{}{m.old, m.young} {
		for sequence := range half {
			if sequence > floor {
				list = append(list, sequence)
			}
		}
	}
	return list
}
