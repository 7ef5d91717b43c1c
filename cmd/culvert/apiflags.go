package main

import "github.com/spf13/cobra"

// apiFlags are the flags of every command that calls the API of a server and prints what it answers.
type apiFlags struct {
	connection
	json bool
}

func (f *apiFlags) register(cmd *cobra.Command) {
	f.connection.register(cmd.Flags())
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON, as the API answers")
}

// registerList is register for a list, which has no end until its last page: so each entry is JSON by itself.
func (f *apiFlags) registerList(cmd *cobra.Command) {
	f.register(cmd)
	cmd.Flags().Lookup("json").Usage = "print JSON, one entry a line, each as the API answers it"
}
