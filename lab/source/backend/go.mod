// SPDX-License-Identifier: GPL-3.0-or-later
module kasaneha.test/backend

go 1.19
