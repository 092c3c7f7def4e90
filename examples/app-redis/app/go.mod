module visits

go 1.19
