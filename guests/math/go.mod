module example.com/okra/math

go 1.24
