package codec_test

import (
	"fmt"
	"time"

	"wabridge/codec"
)

func ExampleDecodeCommand() {
	c, err := codec.DecodeCommand(nil, []byte(`{"to": "1 555 014-2233", "text": "Your parcel is here"}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Type, "in conversation", c.Conversation)
	fmt.Println(string(c.Body))

	_, err = codec.DecodeCommand(nil, []byte(`{"to": "+15550142233", "image": {"caption": "front view"}}`))
	fmt.Println(err)
	// Output:
	// text in conversation 15550142233
	// {"messaging_product":"whatsapp","type":"text","to": "+15550142233", "text": {"body":"Your parcel is here"}}
	// image: needs exactly one of id, link and object, has 0
}

func ExampleReplaceMedia() {
	c, err := codec.DecodeCommand(nil, []byte(`{"to": "+15550142233", "document": {"object": "invoices/42", "filename": "42.pdf"}}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	ids := make([]string, len(c.MediaRefs))
	for i, ref := range c.MediaRefs {
		fmt.Println("upload", ref.Kind, ref.Object)
		ids[i] = "550000000000103" // the platform's answer
	}
	fmt.Println(string(codec.ReplaceMedia(c.Body, c.MediaRefs, ids)))
	// Output:
	// upload document invoices/42
	// {"messaging_product":"whatsapp","type":"document","to": "+15550142233", "document": {"id":"550000000000103", "filename": "42.pdf"}}
}

func ExampleReport_Append() {
	r := codec.Report{
		Ref: "order-1234", To: "15550142233", Status: codec.StatusRejected, At: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC),
		Error: &codec.ReportError{Class: codec.Invalid, Title: "text.body: at most 4096 characters, has 4097"},
	}
	fmt.Println(string(r.Append(nil)))
	// Output:
	// {"ref":"order-1234","to":"15550142233","status":"rejected","rank":9,"at":"2026-11-23T12:00:00Z","error":{"class":"invalid","title":"text.body: at most 4096 characters, has 4097"}}
}

func ExampleClassify() {
	e, err := codec.ParseError([]byte(`{"error": {"code": 131056, "message": "pair rate limit hit"}}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	r := codec.Classify(e, 429)
	fmt.Println(r.Class, r.Scope, r.Grow)
	// Output: throttled lane true
}
