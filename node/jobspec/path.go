package jobspec

import "fmt"

// LocalFile is a file or folder that the client uploads before it submits the
// job that names it.
type LocalFile struct {
	// Field says where the job names it: module, stdin, inputs[2].
	Field string
	// Path is as the job has it: relative to whoever wrote it.
	Path string
	// Folder says that a tar archive of the folder is to be uploaded.
	Folder bool

	path *string
	hash *Hash
}

// Replace makes the job name the object instead of the file.
func (f LocalFile) Replace(object [32]byte) { *f.path, *f.hash = "", object }

// Paths lists the local files that the job names, the module first.
func (j *Job) Paths() []LocalFile {
	var files []LocalFile
	add := func(field string, folder bool, path *string, hash *Hash) {
		if *path != "" {
			files = append(files, LocalFile{field, *path, folder, path, hash})
		}
	}
	add("module", false, &j.Module.Path, &j.Module.Object)
	if j.Stdin != nil {
		add("stdin", false, &j.Stdin.Path, &j.Stdin.Object)
	}
	for i := range j.Inputs {
		in := &j.Inputs[i]
		add(fmt.Sprintf("inputs[%d]", i), in.Folder, &in.Path, &in.Object)
	}
	return files
}
