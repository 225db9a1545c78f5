// Package view turns plans, events and reports into text for people and JSON
// for programs, and reports into a page and metrics, too. It is the only place,
// beside cmd, that knows colours and widths; it decides nothing.
package view
