package protocol

import "strconv"

// Status is the code of an answer.
type Status int

// The codes of the original, which are those of HTTP.
const (
	StatusOK           Status = 200
	StatusMoved        Status = 301 // the text is the offset to use
	StatusBadRequest   Status = 400
	StatusUnauthorized Status = 401
	StatusForbidden    Status = 403 // a closed partition, or no right
	StatusNotFound     Status = 404 // nothing there, or not yet
	StatusError        Status = 500
	StatusUnavailable  Status = 503 // cannot now; the text says why
	StatusTimeout      Status = 504
)

// AppendResult appends an answer with a text: "result code length opaque", CRLF, text.
func AppendResult(dst []byte, code Status, opaque int32, text string) []byte {
	return append(appendResultLine(dst, code, len(text), opaque), text...)
}

// AppendResultBytes is AppendResult for a text in bytes.
func AppendResultBytes(dst []byte, code Status, opaque int32, text []byte) []byte {
	return append(appendResultLine(dst, code, len(text), opaque), text...)
}

func appendResultLine(dst []byte, code Status, length int, opaque int32) []byte {
	dst = append(dst, "result "...)
	dst = strconv.AppendInt(dst, int64(code), 10)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, int64(length), 10)
	return appendEnd(dst, opaque)
}

// appendEnd appends the opaque and the end of the line.
func appendEnd(dst []byte, opaque int32) []byte {
	return append(appendWord(dst, int64(opaque)), CRLF...)
}

func appendWord(dst []byte, n int64) []byte { return strconv.AppendInt(append(dst, ' '), n, 10) }

// AppendPutResult appends the answer to a put: 200 and "id partition offset".
func AppendPutResult(dst []byte, opaque int32, id int64, partition int32, offset int64) []byte {
	var buf [64]byte
	text := strconv.AppendInt(buf[:0], id, 10)
	text = appendWord(text, int64(partition))
	text = appendWord(text, offset)
	return AppendResultBytes(dst, StatusOK, opaque, text)
}

// AppendValueHeader appends the line before length bytes of stored messages.
func AppendValueHeader(dst []byte, length int, opaque int32) []byte {
	return appendEnd(strconv.AppendInt(append(dst, "value "...), int64(length), 10), opaque)
}

// AppendPut appends a put with a checksum, body included. partition -1 lets the broker choose.
func AppendPut(dst []byte, topic Topic, partition, flag int32, body []byte, opaque int32) []byte {
	dst = appendTopic(dst, "put ", topic)
	dst = appendWord(dst, int64(partition))
	dst = appendWord(dst, int64(len(body)))
	dst = appendWord(dst, int64(flag))
	dst = appendWord(dst, int64(Checksum(body)))
	return append(appendEnd(dst, opaque), body...)
}

// AppendGet appends a get. The group may be any word: without space, CR and LF. With waitMs >= 0 the broker waits for so many milliseconds if there is nothing (its feature "longpoll").
func AppendGet(dst []byte, topic Topic, group string, partition int32, offset int64, maxSize, waitMs, opaque int32) []byte {
	dst = appendPlace(dst, "get ", topic, group, partition)
	dst = appendWord(dst, offset)
	dst = appendWord(dst, int64(maxSize))
	if waitMs >= 0 {
		dst = appendWord(dst, int64(waitMs))
	}
	return appendEnd(dst, opaque)
}

// AppendOffset appends the classic command that finds the nearest offset to go on from.
func AppendOffset(dst []byte, topic Topic, group string, partition int32, offset int64, opaque int32) []byte {
	return appendEnd(appendWord(appendPlace(dst, "offset ", topic, group, partition), offset), opaque)
}

// AppendCommit appends a commit of a group's offset.
func AppendCommit(dst []byte, topic Topic, group Group, partition int32, offset int64, opaque int32) []byte {
	return appendEnd(appendWord(appendPlace(dst, "commit ", topic, string(group), partition), offset), opaque)
}

// AppendCommitted appends the question for a group's offset.
func AppendCommitted(dst []byte, topic Topic, group Group, partition int32, opaque int32) []byte {
	return appendEnd(appendPlace(dst, "committed ", topic, string(group), partition), opaque)
}

// AppendSeek appends the question for the first offset at or after a time.
func AppendSeek(dst []byte, topic Topic, partition int32, unixMillis int64, opaque int32) []byte {
	return appendEnd(appendWord(appendWord(appendTopic(dst, "seek ", topic), int64(partition)), unixMillis), opaque)
}

// AppendLag appends the question for what lies between an offset and the end.
func AppendLag(dst []byte, topic Topic, partition int32, offset int64, opaque int32) []byte {
	return appendEnd(appendWord(appendWord(appendTopic(dst, "lag ", topic), int64(partition)), offset), opaque)
}

// AppendRoute appends the question for the brokers of a topic's partitions.
func AppendRoute(dst []byte, topic Topic, opaque int32) []byte {
	return appendEnd(appendTopic(dst, "route ", topic), opaque)
}

// AppendTopics appends the question for the list of topics.
func AppendTopics(dst []byte, opaque int32) []byte {
	return appendEnd(append(dst, "topics"...), opaque)
}

// AppendVersion appends the question for the version, which is also the heartbeat.
func AppendVersion(dst []byte, opaque int32) []byte {
	return appendEnd(append(dst, "version"...), opaque)
}

// AppendQuit appends the end of a session. It has no answer.
func AppendQuit(dst []byte) []byte { return append(dst, "quit"+CRLF...) }

// AppendStats appends the question for an item of the statistics, "" for those of the broker. The item must be a word.
func AppendStats(dst []byte, item string, opaque int32) []byte {
	return appendEnd(append(append(dst, "stats "...), item...), opaque)
}

// AppendHelp appends the question for the help on a verb, "" for the list. The verb must be a word.
func AppendHelp(dst []byte, verb string, opaque int32) []byte {
	return appendEnd(append(append(dst, "help "...), verb...), opaque)
}

// AppendClose appends the command that closes a range of partitions.
func AppendClose(dst []byte, topic Topic, first, last, opaque int32) []byte {
	return appendEnd(appendWord(appendWord(appendTopic(dst, "close ", topic), int64(first)), int64(last)), opaque)
}

// AppendOpen appends the command that opens a range of partitions again.
func AppendOpen(dst []byte, topic Topic, first, last, opaque int32) []byte {
	return appendEnd(appendWord(appendWord(appendTopic(dst, "open ", topic), int64(first)), int64(last)), opaque)
}

func appendTopic(dst []byte, verb string, topic Topic) []byte {
	return append(append(dst, verb...), topic...)
}

func appendPlace(dst []byte, verb string, topic Topic, group string, partition int32) []byte {
	dst = append(appendTopic(dst, verb, topic), ' ')
	return appendWord(append(dst, group...), int64(partition))
}
