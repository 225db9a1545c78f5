# This answers ecdeploy, which checks that packets come to this host and get
# back; it runs for a minute at most, leaves nothing behind, and is run as
#   perl FOLDER/echo.pl FOLDER ADDRESS TCPPORT UDPPORT FIRST LAST UDPPORT FIRST LAST ...
# FOLDER has the file "nonce": only what begins with its 16 bytes is answered, with
# the same bytes, so that nobody can have more sent to somebody else than they sent.
# What is listened to, and how much came and was answered, is its process title:
#   ecdeploy-echo-NAME tcp 7881 0/0 udp 50100 20/20 udp 50150 20/20 .
use strict;
use warnings;
use Socket qw(:DEFAULT inet_pton pack_sockaddr_in6 IPPROTO_IPV6 IPV6_V6ONLY);
use POSIX qw(setgid setuid);

my ($folder, $address, $tcp, @udp) = @ARGV;
open my $file, '<', "$folder/nonce" or die "nonce: $!";
binmode $file;
my $read = read $file, my $nonce, 16;
close $file;
unlink "$folder/nonce", "$folder/echo.pl";
rmdir $folder;
die "no nonce\n" unless $read && $read == 16;

my ($name) = $folder =~ /([0-9a-f]+)$/;
my $v6 = $address =~ /:/;

# bound is a socket at ADDRESS or, where that is none of this host's, at all of its
# addresses of the same kind.
sub bound {
	my ($type, $port) = @_;
	for my $at ($address, $v6 ? '::' : '0.0.0.0') {
		socket my $s, $v6 ? AF_INET6 : AF_INET, $type, 0 or return;
		# Else what is left of an earlier connection keeps the port; who listens still does.
		setsockopt $s, SOL_SOCKET, SO_REUSEADDR, 1 if $type == SOCK_STREAM;
		setsockopt $s, IPPROTO_IPV6, IPV6_V6ONLY, pack('i', 1) if $v6;
		my $ip = inet_pton($v6 ? AF_INET6 : AF_INET, $at);
		return $s if bind $s, $v6 ? pack_sockaddr_in6($port, $ip) : pack_sockaddr_in($port, $ip);
	}
	return;
}

my @all;
sub title { $0 = join ' ', "ecdeploy-echo-$name", (map { "$_->{name} $_->{came}/$_->{sent}" } @all), '.' }

my $s = bound(SOCK_STREAM, $tcp);
push @all, { socket => $s, name => "tcp $tcp", came => 0, sent => 0, tcp => 1 } if $s && listen $s, 64;
while (my ($want, $first, $last) = splice @udp, 0, 3) {
	for my $port ($want .. $last, $first .. $want - 1) { # the next one if it is taken
		my $s = bound(SOCK_DGRAM, $port) or next;
		push @all, { socket => $s, name => "udp $port", came => 0, sent => 0 };
		last;
	}
}
die "all ports are taken\n" unless @all;

# No port needs root any more: nobody's number is the same everywhere.
if ($> == 0) {
	$) = '65534 65534'; # its groups, too
	setgid(65534) && setuid(65534) && $> == 65534 or die "still root: $!";
}
title();

# answer counts one datagram and sends it back. A firewall of this host that drops
# the answer makes send fail.
sub answer {
	my ($one, $data, $to) = @_;
	return unless substr($data, 0, 16) eq $nonce;
	$one->{came}++;
	$one->{sent}++ if defined send $one->{socket}, $data, 0, $to;
}

# greet answers one connection: what it says within a second, once.
sub greet {
	my ($one) = @_;
	accept my $c, $one->{socket} or return;
	vec(my $in = '', fileno $c, 1) = 1;
	return unless select $in, undef, undef, 1;
	return unless sysread $c, my $data, 1200;
	return unless substr($data, 0, 16) eq $nonce;
	$one->{came}++;
	$one->{sent}++ if syswrite $c, $data;
}

my $end = time + 55;
$SIG{PIPE} = 'IGNORE';
while ((my $left = $end - time) > 0) {
	my $in = '';
	vec($in, fileno $_->{socket}, 1) = 1 for @all;
	next unless select($in, undef, undef, $left) > 0;
	for my $one (grep { vec $in, fileno $_->{socket}, 1 } @all) {
		if ($one->{tcp}) { greet($one); next }
		my $from = recv $one->{socket}, my $data, 1500, 0;
		answer($one, $data, $from) if defined $from;
	}
	title();
}
