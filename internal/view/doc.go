// Package view turns plans, events and reports into text for people and JSON
// for programs, and reports into a page and metrics, too. Its Screen owns the
// terminal. It is the only place that knows colours and widths; it decides nothing.
package view
