// A log directory and our proofs, judged by the reference implementation of
// notes and tiles: golang.org/x/mod/sumdb.
//
//	log.go DIRECTORY VKEY < proofs
//
// Each line of the input is `record INDEX SIZE ROOT LEAF HASH...` or
// `tree OLD OLDROOT SIZE ROOT HASH...`, hashes in hexadecimal. Prints one word
// for the directory and one for each line: `good`, or why not.
package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type files string

func (f files) Height() int                   { return 8 }
func (f files) SaveTiles([]tlog.Tile, [][]byte) {}

// C2SP fixes the height, so that paths lack it.
func (f files) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		path := "tile/" + strings.TrimPrefix(tile.Path(), "tile/8/")
		bytes, err := os.ReadFile(filepath.Join(string(f), path))
		if err != nil {
			return nil, err
		}
		all = append(all, bytes)
	}
	return all, nil
}

func directory(dir, vkey string) error {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return err
	}
	bytes, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		return err
	}
	opened, err := note.Open(bytes, note.VerifierList(verifier))
	if err != nil {
		return err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		return fmt.Errorf("not a checkpoint")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return err
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		return err
	}
	// This reader authenticates every tile against the root.
	reader := tlog.TileHashReader(tlog.Tree{N: size, Hash: root}, files(dir))
	bundle, at := []byte(nil), 0
	for index := int64(0); index < size; index++ {
		if index%256 == 0 {
			width := int64(256)
			if size-index < width {
				width = size - index
			}
			tile := tlog.Tile{H: 8, L: 0, N: index / 256, W: int(width)}
			path := "tile/entries/" + strings.TrimPrefix(tile.Path(), "tile/8/0/")
			if bundle, err = os.ReadFile(filepath.Join(dir, path)); err != nil {
				return err
			}
			at = 0
		}
		length := int(bundle[at])<<8 | int(bundle[at+1])
		entry := bundle[at+2 : at+2+length]
		at += 2 + length
		proof, err := tlog.ProveRecord(size, index, reader)
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(proof, size, root, index, tlog.RecordHash(entry)); err != nil {
			return err
		}
	}
	return nil
}

func hash(text string) (hash tlog.Hash, err error) {
	bytes, err := hex.DecodeString(text)
	if err == nil && copy(hash[:], bytes) != len(hash) {
		err = fmt.Errorf("short hash")
	}
	return hash, err
}

func proof(line string) error {
	words := strings.Split(line, " ")
	var numbers []int64
	var hashes []tlog.Hash
	for _, word := range words[1:] {
		if len(word) == 64 {
			value, err := hash(word)
			if err != nil {
				return err
			}
			hashes = append(hashes, value)
		} else {
			number, err := strconv.ParseInt(word, 10, 64)
			if err != nil {
				return err
			}
			numbers = append(numbers, number)
		}
	}
	if words[0] == "record" {
		return tlog.CheckRecord(hashes[2:], numbers[1], hashes[0], numbers[0], hashes[1])
	}
	return tlog.CheckTree(hashes[2:], numbers[1], hashes[1], numbers[0], hashes[0])
}

func say(err error) {
	if err == nil {
		fmt.Println("good")
	} else {
		fmt.Println(strings.ReplaceAll(err.Error(), "\n", " "))
	}
}

func main() {
	say(directory(os.Args[1], os.Args[2]))
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		say(proof(lines.Text()))
	}
}
