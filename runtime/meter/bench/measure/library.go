package measure

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// copyMemory is what Emscripten's programs call for long copies: memcpy(to,
// from, size).
func copyMemory(g Guest, args []uint64) uint64 {
	b, err := g.Read(uint32(args[1]), uint32(args[2]))
	if err == nil {
		err = g.Write(uint32(args[0]), b)
	}
	if err != nil {
		// The guest has given a range that is not in its memory: the engines
		// turn a panic of a host function into an error of the call.
		panic(err)
	}
	return 0
}

// put copies data to memory that the guest's function malloc gives.
func put(g Guest, malloc string, data []byte) (uint64, error) {
	at, err := g.Call(malloc, uint64(len(data)))
	if err != nil {
		return 0, err
	}
	if uint32(at) == 0 {
		return 0, fmt.Errorf("%s gives no %d bytes", malloc, len(data))
	}
	return at, g.Write(uint32(at), data)
}

const sqlWork = `
CREATE TABLE node(id INTEGER PRIMARY KEY, name TEXT, cores INTEGER, load REAL);
CREATE TABLE task(id INTEGER PRIMARY KEY, node INTEGER, fuel INTEGER, state TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
  INSERT INTO node SELECT i, printf('node-%05d', i * 7919 % 2003), i % 16 + 1, i * 0.37 FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
  INSERT INTO task SELECT i, i * 31 % 2000 + 1, i * 2654435761 % 100000, CASE i % 3 WHEN 0 THEN 'done' WHEN 1 THEN 'queued' ELSE 'running' END FROM n;
CREATE INDEX by_node ON task(node, state);
CREATE TABLE result AS
  SELECT n.name AS name, t.state AS state, count(*) AS tasks, sum(t.fuel) AS fuel, max(n.load) AS load
  FROM task t JOIN node n ON n.id = t.node WHERE n.cores > 2 AND t.fuel LIKE '%7%'
  GROUP BY n.name, t.state ORDER BY fuel DESC;
UPDATE task SET fuel = fuel + 1 WHERE node IN (SELECT id FROM node WHERE name GLOB '*-0?5*');
DELETE FROM task WHERE state = 'done';
`

// beginSQLite opens a database in memory, fills it, asks it and closes it.
func beginSQLite(g Guest) (Step, error) {
	name, err := put(g, "sqlite3_malloc64", []byte(":memory:\x00"))
	if err != nil {
		return nil, err
	}
	script, err := put(g, "sqlite3_malloc64", []byte(sqlWork+"\x00"))
	if err != nil {
		return nil, err
	}
	handle, err := put(g, "sqlite3_malloc64", make([]byte, 4))
	if err != nil {
		return nil, err
	}
	return func() (string, error) {
		const readWriteCreate = 6
		if err := sqlite(g, "sqlite3_open_v2", name, handle, readWriteCreate, 0); err != nil {
			return "", err
		}
		b, err := g.Read(uint32(handle), 4)
		if err != nil {
			return "", err
		}
		db := uint64(binary.LittleEndian.Uint32(b))
		if err := sqlite(g, "sqlite3_exec", db, script, 0, 0, 0); err != nil {
			return "", err
		}
		changes, err := g.Call("sqlite3_total_changes64", db)
		if err != nil {
			return "", err
		}
		return fmt.Sprint(changes), sqlite(g, "sqlite3_close", db)
	}, nil
}

// sqlite calls a function that returns 0 or the number of an error.
func sqlite(g Guest, name string, args ...uint64) error {
	code, err := g.Call(name, args...)
	if err == nil && uint32(code) != 0 {
		err = fmt.Errorf("%s returns error %d", name, uint32(code))
	}
	return err
}

// The names of Zstandard's functions in a build that has made them short.
const (
	zstdConstructors = "g"
	zstdMalloc       = "s"
	zstdCompress     = "m"
	zstdDecompress   = "r"
)

const (
	zstdTextBytes = 1 << 20
	zstdLevel     = 6
)

// beginZstd packs a text and unpacks it.
func beginZstd(g Guest) (Step, error) {
	if _, err := g.Call(zstdConstructors); err != nil {
		return nil, err
	}
	text := logText(zstdTextBytes)
	var at [3]uint64
	for i, data := range [][]byte{text, make([]byte, len(text)+len(text)/64+1024), make([]byte, len(text))} {
		var err error
		if at[i], err = put(g, zstdMalloc, data); err != nil {
			return nil, err
		}
	}
	return func() (string, error) {
		n := uint64(len(text))
		size, err := g.Call(zstdCompress, at[1], n+n/64+1024, at[0], n, zstdLevel)
		if err != nil {
			return "", err
		}
		back, err := g.Call(zstdDecompress, at[2], n, at[1], uint64(uint32(size)))
		if err != nil {
			return "", err
		}
		if uint32(back) != uint32(n) {
			return "", fmt.Errorf("%d bytes came back of %d", int32(back), n)
		}
		return fmt.Sprint(uint32(size)), nil
	}, nil
}

// logText makes a text as a log has it.
func logText(size int) []byte {
	var b strings.Builder
	seed := uint32(11)
	for b.Len() < size {
		seed = seed*1664525 + 1013904223
		fmt.Fprintf(&b, "2026-11-%02d node-%d INFO task %x ended fuel=%d kind=%s\n",
			seed>>27%28+1, seed>>24%50, seed>>9, seed>>7%1e6, []string{"exited", "trap", "deadline"}[seed>>13%3])
	}
	return []byte(b.String()[:size])
}
