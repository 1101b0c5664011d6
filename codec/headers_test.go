package codec

import "testing"

// TestBorrowedHeaderIsEmpty: nothing of one message's headers reaches another's.
func TestBorrowedHeaderIsEmpty(t *testing.T) {
	for range 100 {
		h := BorrowHeader()
		if len(h) != 0 {
			t.Fatalf("a borrowed header holds %v", h)
		}
		SetEventHeaders(h, EventAttributes{ID: "1", Source: "/s", Type: "t", Subject: "p"})
		ReturnHeader(h)
	}
	ReturnHeader(nil)
	if h := BorrowHeader(); h == nil {
		t.Fatal("a borrowed header cannot be written")
	}
}
