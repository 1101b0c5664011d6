package bridgetest

import "runtime"

// Heap is how many bytes of the heap are in use, once what is not has been
// collected.
func Heap() int64 {
	runtime.GC()
	runtime.GC() // what the first has freed the finalizers of
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
